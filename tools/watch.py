"""``make watch``: a server, load on it, and Prometheus with the real rules, until Ctrl-C. Prints their addresses."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import orjson

from lading.artifact import Artifact
from lading.monitoring.slo import slo_for
from lading.monitoring.write import rule_files
from tools.stack import free_port, prometheus_stack

ROOT = Path(__file__).parents[1]
Send = Callable[[httpx.Client], httpx.Response]


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path, nargs="?", default=ROOT / "artifacts" / "cards")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second on average, at most 200")
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long, unless Ctrl-C comes first")
    given = parser.parse_args()
    try:
        watch(Artifact.load(given.artifact), rate=min(given.rate, 200.0), seconds=given.seconds)
    except KeyboardInterrupt:
        print("stopped")


def watch(artifact: Artifact, *, rate: float, seconds: float) -> None:
    """Start the server, Prometheus and the load, and print the addresses.

    Args:
        artifact: what is served; its SLO is derived from what verify measured.
        rate: requests a second on average, at random moments.
        seconds: how long.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "lading", "serve", str(artifact.path), "--port", str(port), "--grpc-port", "off"]
    groups = [group for file in rule_files([slo_for(artifact)]).values() for group in file]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with tempfile.TemporaryDirectory(prefix="lading-watch-") as folder:
            wait_until_ready(url, server)
            with prometheus_stack(Path(folder), {"watch": [f"127.0.0.1:{port}"]}, groups) as stack:
                print(f"  status       {url}/status")
                print(f"  the page     {url}/")
                print(f"  Prometheus   {stack.prometheus}/alerts")
                print(f"  Alertmanager {stack.alertmanager}/#/alerts")
                print(f"about {rate:g} requests a second for {seconds:g} s; Ctrl-C ends it", flush=True)
                counts = load(url, sender(artifact), rate=rate, seconds=seconds)
        print(", ".join(f"{count} answered with {code}" for code, count in sorted(counts.items())))
    finally:
        server.terminate()
        server.wait(40)


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers.

    Raises:
        SystemExit: it ended, or did not become ready within a minute.
    """
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit("the server did not become ready; what it said stands above")


def sender(artifact: Artifact) -> Send:
    """A function that sends one request: a picture if the model takes one, else golden inputs."""
    picture = ROOT / "examples" / "ace-of-hearts.jpg"
    if any(spec.content == "image" for spec in artifact.manifest.inputs) and picture.is_file():
        photo = picture.read_bytes()
        return lambda client: client.post("/classify", content=photo, headers={"content-type": "image/jpeg"})
    body = orjson.dumps(artifact.golden_inputs(), option=orjson.OPT_SERIALIZE_NUMPY)
    return lambda client: client.post("/predict", content=body, headers={"content-type": "application/json"})


def load(url: str, send: Send, *, rate: float, seconds: float, clients: int = 8) -> dict[int, int]:
    """Send requests at random times over a few connections.

    Returns:
        How many were answered with each status.
    """
    counts: dict[int, int] = {}
    lock = threading.Lock()
    end = time.monotonic() + seconds

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(left, random.expovariate(rate / clients)))
                code = send(client).status_code
                with lock:
                    counts[code] = counts.get(code, 0) + 1

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


if __name__ == "__main__":
    main()
