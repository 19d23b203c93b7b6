"""``make serve`` as a newcomer meets it: the cards model built, served by BentoML, and asked by the README's curl."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lading.artifact import Artifact
from tests.given.documented import ROOT, commands

pytestmark = pytest.mark.slow
START_S = 300
"""Far more than it takes: this test is about answers, not about speed."""


@pytest.fixture(scope="module")
def address(cards_artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("make") / "serve.log"
    with log.open("w") as stream:
        server = subprocess.Popen(
            ["make", "serve", f"PORT={port}"],
            cwd=ROOT,
            env={**os.environ, "LADING_HTTP_PORT": "0", "LADING_GRPC_PORT": "0"},  # the next process does the same
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def wait_until_ready(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(f"{address}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    pytest.fail(f"not ready after {START_S} s:\n{log.read_text()}")


CURLS = sorted(
    {
        command
        for page in (ROOT / "README.md", ROOT / "docs" / "serving.md")
        for command in commands(page)
        # A molecule is asked of another server than the cards': tests/serve/test_molecules_served.py does.
        if command.startswith(("curl", "echo")) and "/predict/smiles" not in command
    }
)


@pytest.mark.parametrize("command", CURLS)
def test_the_documented_request_is_answered(command: str, address: str) -> None:
    here = re.sub(r"http://127\.0\.0\.1:\d+", address, command).replace("curl ", "curl --silent --show-error ")
    result = subprocess.run(["bash", "-c", here], cwd=ROOT, capture_output=True, text=True, check=True)
    answer = json.loads(result.stdout)
    if "suit" in answer:
        assert (answer["suit"], answer["rank"]) == ("hearts", "ace")
        assert answer["confidence"] > 0.5
        assert sum(answer["probabilities"]["rank"].values()) == pytest.approx(1, abs=1e-3)
    elif "model_name" in answer:
        assert {output["name"]: output["shape"] for output in answer["outputs"]} == {"suit": [1, 5], "rank": [1, 14]}
    else:
        assert len(answer["outputs"]["rank"][0]) == 14


def test_the_page_the_document_and_the_metrics_are_ours(address: str) -> None:
    assert "<title>Lading</title>" in httpx.get(address).text
    assert "/classify" in httpx.get(f"{address}/docs.json").json()["paths"]
    assert "lading_requests_total" in httpx.get(f"{address}/metrics").text
