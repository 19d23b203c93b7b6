"""Run Locust without its page, in its own process, because importing it patches every socket of the process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lading.deploy.load.shapes import Kind, Shape
from lading.deploy.load.signature import Signature, from_artifact, from_server, read_files
from lading.deploy.load.slo import read_objectives
from lading.deploy.load.upload import open_reports, upload
from lading.errors import CheckError, SettingsError
from lading.files import claim, finish
from lading.protocol.client import Access

CLASSES: dict[Kind, str] = {"plain": "Plain", "v2-json": "V2Json", "v2-binary": "V2Binary", "grpc": "Grpc"}


@dataclass(frozen=True)
class Load:
    """A load test: what to send where, how much, and the SLO."""

    url: str
    grpc: str | None
    artifact: Path | None
    model: str | None
    kinds: tuple[Kind, ...]
    shape: Shape
    rate: float
    """Maximum rate, in requests per second."""
    seconds: float
    warm_up: float
    slo: str
    pictures: Path | None
    out: Path
    upload: str | None
    """Bucket that gets the reports too."""
    timeout: float
    """Seconds."""
    processes: int
    access: Access


def run(load: Load) -> int:
    """Send the load, write ``report.html`` and ``load_*.csv`` to the folder and the bucket, and print the result.

    Returns:
        Locust's exit code: 0: the SLO was met, 3: it was missed, others: Locust failed.

    Raises:
        SettingsError: the SLO or the key file cannot be read, no users are left, Locust is not installed, or the bucket
            refuses the reports.
        ClientError: the server does not answer.
        CheckError: it serves another model, or its description cannot be read.
    """
    if find_spec("locust") is None:
        raise SettingsError("Locust is not installed: pip install 'lading[serve,load]'")
    read_objectives(load.slo)
    read_files(str(load.pictures or ""))
    if load.warm_up >= load.seconds:
        raise SettingsError(f"--warm-up {load.warm_up:g} must be shorter than --seconds {load.seconds:g}")
    store = open_reports(load.upload) if load.upload else None
    kinds = _possible(load, _signature(load))
    claim(load.out, ("report.html",), known_by="load_stats.csv")
    environment = {**os.environ, "GRPC_VERBOSITY": os.environ.get("GRPC_VERBOSITY", "ERROR")}
    code = None
    with subprocess.Popen(command(load, kinds), env=environment) as process:
        while code is None:
            try:
                code = process.wait()
            except KeyboardInterrupt:
                continue  # Locust got the signal too, and still prints its results
    figures = load.out / "load_stats.csv"
    if figures.is_file():
        finish(load.out)
        print(figures.read_text(), end="", flush=True)  # in the log too, which outlives a pod's folder
    if store is not None and load.upload:
        try:
            print(upload(load.out, store, load.upload), flush=True)
        except SettingsError:
            if code == 0:
                raise  # a missed SLO is worse news, and has its exit code
    return code


def command(load: Load, kinds: tuple[Kind, ...]) -> list[str]:
    """The command that starts Locust."""
    options: dict[str, object] = {
        "--host": load.url,
        "--grpc": load.grpc,
        "--artifact": load.artifact,
        "--model": load.model,
        "--pictures": load.pictures,
        "--shape": load.shape,
        "--rate": load.rate,
        "--seconds": load.seconds,
        "--warm-up": load.warm_up,
        "--slo": load.slo,
        "--timeout": load.timeout,
        "--key-file": load.access.key,
        "--ca": load.access.ca,
        "--processes": load.processes if load.processes > 1 else None,
        "--csv": load.out / "load",
        "--html": load.out / "report.html",
    }
    words = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    locustfile = Path(__file__).with_name("locustfile.py")
    fixed = ["--headless", "--only-summary", "--loglevel", "WARNING"]
    names = [CLASSES[kind] for kind in kinds]
    return [sys.executable, "-m", "locust", "-f", str(locustfile), *fixed, *words, *names]


def _signature(load: Load) -> Signature:
    """Read the signature before Locust starts, so that an error is one sentence."""
    served = from_server(load.url, load.model, access=load.access)
    if load.artifact is None:
        return served
    own = from_artifact(load.artifact)
    if own.name != served.name:
        raise CheckError(f"{load.url} serves {served.name!r}, but the artifact is {own.name!r}")
    return own


def _possible(load: Load, signature: Signature) -> tuple[Kind, ...]:
    kinds = tuple(kind for kind in load.kinds if (kind != "grpc" or load.grpc) and (kind != "plain" or signature.plain))
    if not kinds:
        raise SettingsError("no users are left: gRPC is off, or the server has no /predict; change --users")
    return kinds
