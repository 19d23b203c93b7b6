"""``python -m benchmarks.ragged_batching``: one molecule a request, with requests sharing runs and with none doing so.

The second server is given the same artifact whose T(b) says that a larger batch gains nothing, so that each request
is a run of its own. Servers on one core, load on the other, turn about.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.load import Load, Target, run
from lading.artifact import Artifact, write_artifact
from lading.protocol.describe import example_body

START_S = 60.0


def main(
    artifact: Annotated[Path, typer.Argument(help="what `lading build` made")] = Path("artifacts/molecules"),
    rounds: int = 3,
    seconds: float = 4.0,
    connections: Annotated[int, typer.Option(help="closed loop")] = 64,
    cores: Annotated[tuple[int, int], typer.Option(help="the servers' and the load generator's")] = (0, 1),
) -> None:
    """Compare ragged batching with one run a request."""
    os.sched_setaffinity(0, {cores[1]})
    loaded = Artifact.load(artifact)
    seen: dict[str, list[Load]] = {"shared runs": [], "one run a request": []}
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body.json"
        body.write_text(json.dumps(example_body(loaded)))
        alone = _without_batches(loaded, Path(folder) / "alone")
        folders = dict(zip(seen, (loaded.path, alone.path), strict=True))
        for _ in range(rounds):
            for name, path in folders.items():
                with _serving(path, cores[0], body) as target:
                    run(target, seconds=1, connections=connections)
                    seen[name].append(run(target, seconds=seconds, connections=connections))
    table = Table(f"{connections} connections", "requests/s", "p50 ms", "p99 ms")
    for name, loads in seen.items():
        middle = [statistics.median(getattr(load, key) for load in loads) for key in ("rate", "p50", "p99")]
        table.add_row(name, f"{middle[0]:.0f}", *(f"{value:.2f}" for value in middle[1:]))
    Console().print(table)


def _without_batches(artifact: Artifact, path: Path) -> Artifact:
    variants = []
    for packed in artifact.manifest.variants:
        measured = packed.measurement
        if measured is not None:
            single = tuple(timing for timing in measured.timings if timing.batch == 1)
            measured = measured.model_copy(update={"timings": single})
        variants.append(packed.model_copy(update={"measurement": measured}))
    manifest = artifact.manifest.model_copy(update={"variants": tuple(variants)})
    return write_artifact(path, manifest, {name: artifact.path / name for name in artifact.manifest.files})


@contextmanager
def _serving(artifact: Path, core: int, body: Path) -> Iterator[Target]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "lading", "serve", str(artifact), "--port", str(port), "--grpc-port", "off"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"LADING_LANES": "1", "LADING_LOG_LEVEL": "error"},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - no threads here
    )
    try:
        _wait(url)
        yield Target(f"{url}/predict", body, "application/json")
    finally:
        process.terminate()
        process.wait(30)


def _wait(url: str) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/readyz", timeout=1).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not become ready")


if __name__ == "__main__":
    typer.run(main)
