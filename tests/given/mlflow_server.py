"""A real MLflow server with its registry and store of files, from the lock ``requirements/mlflow.txt``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.given.bentoml_process import free_port
from tests.given.live_server import wait_until

ROOT = Path(__file__).parents[2]


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Its address. uv keeps its packages apart from those of Lading, which has MLflow's client alone."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    uv = Path(sys.executable).with_name("uv")
    packages = ("--no-project", "--isolated", "--with-requirements", str(ROOT / "requirements" / "mlflow.txt"))
    store = ("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "store"))
    command = [str(uv), "run", "--quiet", *packages, "--", "mlflow", "server", *store]
    with (folder / "mlflow.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"], stdout=log, stderr=log, cwd=folder
        )
        try:
            wait_until(lambda: process.poll() is not None or answers(url), seconds=180)
            assert process.poll() is None, (folder / "mlflow.log").read_text()
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)
