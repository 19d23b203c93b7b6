"""The serving image's command takes `PORT`, as Cloud Run and other platforms set it, for all HTTP requests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from lading.artifact import Artifact
from tests.given.bentoml_process import ROOT, free_port, red
from tests.given.live_server import wait_until


def command_of(requirements: str) -> list[str]:
    """The command of the serving image, with this checkout in place of the image's folder."""
    text = (ROOT / "docker" / "serve.Containerfile").read_text().replace("\\\n", "")
    (found,) = re.findall(rf"FROM base AS runtime-{requirements}\n(?:#.*\n)*CMD (\[.*\])\n", text)
    words: list[str] = json.loads(found)
    return [re.sub(r"(^|exec )python\b", rf"\1{sys.executable}", word).replace("/app", str(ROOT)) for word in words]


@contextlib.contextmanager
def started(requirements: str, port: int, artifact: Artifact) -> Iterator[httpx.Client]:
    """The image's command, as Cloud Run starts it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LADING_")}
    environment = {**kept, "PORT": str(port), "LADING_ARTIFACT": str(artifact.path), "LADING_LANES": "1"}
    environment |= {"LADING_HTTP_HOST": "127.0.0.1", "LADING_GRPC_PORT": "off", "BENTOML_HOST": "127.0.0.1"}
    process = subprocess.Popen(command_of(requirements), env=environment, cwd=ROOT, start_new_session=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

            def ready() -> bool:
                assert process.poll() is None
                with contextlib.suppress(httpx.TransportError):
                    return client.get("/readyz").status_code == 200
                return False

            wait_until(ready, 90)
            yield client
        process.terminate()
        process.wait(30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("requirements", ["bento", "serve"])
def test_the_command_of_the_image_serves_all_of_http_on_that_port(requirements: str, artifact: Artifact) -> None:
    port = free_port()
    with started(requirements, port, artifact) as client:
        assert client.post("/classify", content=red()).json()["colour"] == "red"
        assert client.get("/v2").status_code == 200
        assert "lading_ready" in client.get("/metrics").text
        if requirements == "bento":
            # What BentoML's clients read before they call a path.
            assert {route["route"] for route in client.get("/schema.json").json()["routes"]} >= {
                "/classify",
                "/predict",
            }


@pytest.mark.parametrize(("own", "port"), [({}, "8080"), ({"LADING_HTTP_PORT": "8070"}, "8070")])
def test_port_is_bentomls_where_bentoml_serves(own: dict[str, str], port: str) -> None:
    """`make serve PORT=3001` puts it into the environment, and both servers would want it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LADING_")}
    code = "import service; print(service.served_settings().http_port)"
    words = [sys.executable, "-W", "ignore", "-c", code]
    said = subprocess.run(
        words, env={**environment, **own, "PORT": "3001"}, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == port
