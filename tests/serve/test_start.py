"""What a server imports before it listens is what its start takes, and what stays in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.given.small_artifacts import table_artifact

NOT_BEFORE_IT_LISTENS = (
    *("rich", "pygments", "attr"),  # drawing tables and tracebacks
    *("bentoml", "torch", "onnx", "opentelemetry", "pyarrow", "httpx", "jinja2", "yaml", "matplotlib", "scipy"),
)
ONLY_WITH_THEIR_PORT = ("grpc", "grpc_health", "grpc_reflection", "google.protobuf")
_START = """
import asyncio, sys
import lading.cli
import lading.cli.serve
from lading.serve.http.app import App
from lading.serve.ports import Ports
from lading.settings import Settings

async def listen():
    settings = Settings(http_port=0, grpc_port="off")
    app = App(settings)
    loading = asyncio.ensure_future(app.start())
    ports = Ports(app, settings)
    port, _ = await ports.start()
    assert port
    print(*sorted(sys.modules))
    await loading
    assert app.health.ready
    await ports.stop()
    await app.stop()

asyncio.run(listen())
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    artifact = table_artifact(tmp_path_factory.mktemp("artifact") / "table")
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", _START],
        cwd=root,
        env={"LADING_ARTIFACT": str(artifact.path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(result.stdout.split())


@pytest.mark.parametrize("module", NOT_BEFORE_IT_LISTENS)
def test_a_server_does_not_import_what_it_does_not_use(imported: set[str], module: str) -> None:
    assert "onnxruntime" in imported
    assert module not in imported


@pytest.mark.parametrize("module", ONLY_WITH_THEIR_PORT)
def test_grpc_is_imported_with_its_port_alone(imported: set[str], module: str) -> None:
    assert module not in imported


_FIRST_REQUESTS = """
import sys
from pathlib import Path
from lading.artifact import Artifact
from tests.given.http_exchange import exchange, request
from tests.given.live_server import live_server

requests = [
    ("POST", "/predict", b'{"features": [[1, 2, 3, 4]]}'),
    ("POST", "/predict", b"{"),
    ("POST", "/predict", None),
    ("POST", "/v2/repository/index", b"{}"),
    ("POST", "/feedback", b'{"request_id": "a", "truth": {"total": 1}}'),
    *[("GET", path, None) for path in ("/", "/model", "/metrics", "/status", "/docs.json", "/report", "/v2", "/none")],
]
with live_server(Artifact.load(Path(sys.argv[1])), feedback=1000, log_format="json") as live:
    exchange(live.url, request("GET", "/livez", None, connection="close"))
    before = set(sys.modules)
    for method, path, body in requests:
        exchange(live.url, request(method, path, body, connection="close"))
    print("imported:", *sorted(set(sys.modules) - before))
"""


def test_the_first_requests_import_nothing(tmp_path: Path) -> None:
    """An import takes the event loop many times what a request does."""
    artifact = table_artifact(tmp_path / "table")
    command = [sys.executable, "-c", _FIRST_REQUESTS, str(artifact.path)]
    root = Path(__file__).parents[2]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "imported:"
