"""A real Prometheus scrapes the server, and promtool checks what it gets; run with a server's addresses."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from tests.given.live_server import wait_until
from tools.stack import prometheus_stack


def main(url: str) -> None:
    """Fails with an assertion where the server does not do what Prometheus expects."""
    text = httpx.get(f"{url}/metrics", headers={"accept": "text/plain"}).content
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    print("call promtool check metrics")
    with (
        tempfile.TemporaryDirectory() as folder,
        prometheus_stack(Path(folder), {"ours": [url.removeprefix("http://")]}, [], interval="1s") as stack,
        httpx.Client(base_url=stack.prometheus) as prometheus,
    ):

        def value(query: str) -> str | None:
            found = prometheus.get("/api/v1/query", params={"query": query}).json()["data"]["result"]
            return str(found[0]["value"][1]) if found else None

        wait_until(lambda: value("up") == "1", 40)
        wait_until(lambda: value("lading_ready") == "1", 40)
        version = prometheus.get("/api/v1/status/buildinfo").json()["data"]["version"]
    print("version", version)
    print("call scrape")


if __name__ == "__main__":
    main(sys.argv[1])
