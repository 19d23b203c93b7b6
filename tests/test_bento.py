"""The BentoML service and the Bento, as people start them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from lading.artifact import Artifact
from lading.bento import bento_name, build_bento
from lading.errors import ArtifactError, BentoError
from tests.serve.live_server import wait_until
from tests.serve.run_client import run_client
from tests.serve.self_signed import self_signed
from tests.serve.small_artifacts import colour_artifact, with_golden_outputs

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder: Path = tmp_path_factory.mktemp("bento")
    return colour_artifact(folder / "colour")


@pytest.fixture(scope="module")
def bentoml_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Bento store of the test's own."""
    home: Path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(home))
        patch.setenv("BENTOML_DO_NOT_TRACK", "true")
        patch.delenv("LADING_ARTIFACT", raising=False)
        yield home


def bentoml_serve(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bentoml", "serve", *arguments],
        cwd=cwd,
        env={**os.environ, "LADING_LANES": "1", "LADING_HTTP_PORT": "0", "LADING_GRPC_PORT": "0", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@contextlib.contextmanager
def served(*arguments: str, cwd: Path, **environment: str) -> Iterator[httpx.Client]:
    """``bentoml serve`` on a free port, until the block ends."""
    port = free_port()
    process = bentoml_serve(*arguments, "--host", "127.0.0.1", "--port", str(port), cwd=cwd, **environment)
    said: list[str] = []
    reading = threading.Thread(target=lambda: said.extend(process.stdout or ()))
    reading.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

            def answers() -> bool:
                assert process.poll() is None, "".join(said)
                with contextlib.suppress(httpx.TransportError):
                    return client.get("/livez").status_code == 200
                return False

            wait_until(answers, 60)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        reading.join(20)
        assert process.stdout is not None
        process.stdout.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def red() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (230, 20, 20)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(("model", "name"), [("cards", "cards"), ("_Cards-", "cards"), ("my_model.v2", "my_model.v2")])
def test_a_bento_is_named_after_its_model_as_bentoml_allows(model: str, name: str) -> None:
    assert bento_name(model) == name


def test_no_bento_is_built_of_a_torn_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is not an artifact: it has no lading\.json"):
        build_bento(tmp_path)


@pytest.mark.slow
def test_bentoml_serve_at_the_root_answers_with_the_lean_app(artifact: Artifact, bentoml_home: Path) -> None:
    environment = {"LADING_ARTIFACT": str(artifact.path), "LADING_ACCESS_LOG": "true"}
    with served(cwd=ROOT, **environment) as client:
        assert client.get("/readyz").text == "ready\n"
        answer = client.post("/classify", content=red(), headers={"x-request-id": "bento-1"})
        assert (answer.json()["colour"], answer.headers["x-request-id"]) == ("red", "bento-1")
        assert client.post("/classify", files={"any": red()}).json()["colour"] == "red"
        assert client.get("/").text.startswith("<!doctype html>")
        assert "/classify" in client.get("/docs.json").json()["paths"]
        assert 'lading_requests_total{code="200",model="small-colour"' in client.get("/metrics").text
        photo = bentoml_home / "photo.jpg"
        photo.write_bytes(red())
        run_client("bentoml_http", str(client.base_url), str(photo))
        # One worker counts in memory: a full disk under BentoML's folder of metrics must not end it.
        assert not list(bentoml_home.rglob("*.db"))
        missing = client.get("/static_content/swagger-ui.css")
        assert (missing.status_code, missing.headers["content-type"]) == (404, "application/json")


@pytest.mark.slow
def test_connections_to_bentomls_port_have_the_limits_of_the_lean_one(artifact: Artifact, bentoml_home: Path) -> None:
    environment = {"LADING_ARTIFACT": str(artifact.path), "LADING_HEADER_TIMEOUT_S": "1", "LADING_MAX_CONNECTIONS": "2"}
    with served(cwd=ROOT, **environment) as client:
        address = (client.base_url.host, client.base_url.port or 0)
        with socket.create_connection(address, timeout=20) as late, socket.create_connection(address, timeout=20):
            refused = httpx.get(f"{client.base_url}/model")
            assert (refused.status_code, refused.json()["error"]) == (503, "as many connections are open as may")
            late.sendall(b"POST /classify HTTP/1.1\r\nhost: x\r\n")
            assert late.recv(1000) == b""
        with socket.create_connection(address, timeout=20) as halved:
            halved.sendall(b"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\n")
            halved.sendall(b"content-length: %d\r\n\r\n" % len(red()) + red())
            assert halved.recv(10_000).startswith(b"HTTP/1.1 200")


def requests_counted(text: str) -> float:
    lines = (line for line in text.splitlines() if line.startswith("lading_requests_total{"))
    return sum(float(line.split()[-1]) for line in lines)


def workers_of(text: str) -> set[int]:
    return {int(pid) for pid in re.findall(r'process_resident_memory_bytes\{pid="(\d+)"\}', text)}


@pytest.mark.slow
def test_several_workers_are_one_server_and_a_killed_one_comes_back(artifact: Artifact, bentoml_home: Path) -> None:
    lean, grpc_port = free_port(), free_port()
    environment = {"LADING_WORKERS": "2", "LADING_HTTP_PORT": str(lean), "LADING_GRPC_PORT": str(grpc_port)}
    with served(cwd=ROOT, LADING_ARTIFACT=str(artifact.path), **environment) as client:
        ports = (str(client.base_url), f"http://127.0.0.1:{lean}")
        wait_until(lambda: all(httpx.get(f"{url}/readyz").status_code == 200 for url in ports), 60)
        for number in range(20):
            answer = httpx.post(f"{ports[number % 2]}/classify", content=red(), timeout=30)
            assert answer.json()["colour"] == "red"
        for number in range(6):
            assert requests_counted(httpx.get(f"{ports[number % 2]}/metrics").text) == 20
        before = workers_of(client.get("/metrics").text)
        assert len(before) == 2
        os.kill(next(iter(before)), signal.SIGKILL)

        def back() -> bool:
            with contextlib.suppress(httpx.TransportError):
                now = workers_of(httpx.get(f"{ports[0]}/metrics").text)
                return len(now) == 2 and now != before
            return False

        wait_until(back, 60)
        assert requests_counted(httpx.get(f"{ports[0]}/metrics").text) == 20
        assert httpx.get(f"{ports[0]}/readyz").status_code == 200


@pytest.mark.slow
def test_bentomls_port_speaks_tls_too(artifact: Artifact, bentoml_home: Path, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    port = free_port()
    environment = {"LADING_ARTIFACT": str(artifact.path), "LADING_TLS_CERTIFICATE": str(certificate)}
    options = ("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key))
    process = bentoml_serve(
        "--host", "127.0.0.1", "--port", str(port), *options, cwd=ROOT, LADING_TLS_KEY=str(key), **environment
    )
    context = ssl.create_default_context(cafile=str(certificate))
    try:

        def ready() -> bool:
            assert process.poll() is None
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"https://127.0.0.1:{port}/readyz", verify=context).status_code == 200
            return False

        wait_until(ready, 60)
        answer = httpx.post(f"https://127.0.0.1:{port}/classify", content=red(), verify=context)
        assert answer.json()["colour"] == "red"
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/readyz")
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=30)
    assert "speaks plain HTTP" not in said


@pytest.mark.slow
def test_a_model_that_computes_something_else_here_is_alive_and_not_ready(
    artifact: Artifact, bentoml_home: Path, tmp_path: Path
) -> None:
    moved = with_golden_outputs(artifact, tmp_path / "moved", shift=0.5)
    with served(cwd=ROOT, LADING_ARTIFACT=str(moved.path)) as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "does not reproduce its golden output 'colour' here" in answer.json()["error"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (
            {"LADING_ARTIFACT": "/nowhere"},
            "/nowhere is not an artifact: it has no lading.json; `lading build` makes one",
        ),
        ({"LADING_LANES": "many"}, "a setting cannot be used: LADING_LANES='many': input should be a valid integer"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(bentoml_home: Path, environment: dict[str, str], sentence: str) -> None:
    process = bentoml_serve("--port", "0", cwd=ROOT, **environment)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert sentence in " ".join(said.split())
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def tag(artifact: Artifact, bentoml_home: Path) -> str:
    return build_bento(artifact.path)


def names_in(requirements: str) -> set[str]:
    pinned = (line for line in requirements.splitlines() if "==" in line and not line.startswith((" ", "#")))
    return {line.split("==")[0] for line in pinned}


def test_a_bento_is_tagged_with_its_model_and_the_digest_of_its_artifact(tag: str, artifact: Artifact) -> None:
    name, version = tag.split(":")
    assert name == "small-colour"
    assert version.startswith(f"1-{artifact.digest[7:19]}-")


def test_a_bento_holds_the_artifact_the_source_and_the_requirements_of_serving(
    tag: str, artifact: Artifact, bentoml_home: Path
) -> None:
    bento = bentoml_home / "bentos" / tag.replace(":", "/")
    assert Artifact.load(bento / "src" / "artifact").digest == artifact.digest
    assert (bento / "src" / "lading" / "serve" / "page.html").is_file()
    assert not list((bento / "src").rglob("__pycache__"))
    required = names_in((bento / "env" / "python" / "requirements.txt").read_text())
    assert required == names_in((ROOT / "requirements" / "serve.txt").read_text())
    assert {"bentoml", "onnxruntime"} <= required
    assert not required & {"torch", "torchvision", "lightning", "onnx", "onnxscript", "hydra-core", "wandb"}


def test_what_bentoml_refuses_is_passed_on(
    artifact: Artifact, bentoml_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bentos").write_text("a file where the store should be")
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    with pytest.raises(BentoError, match="BentoML did not build the Bento: "):
        build_bento(artifact.path)


@pytest.mark.slow
def test_a_built_bento_serves_from_elsewhere_with_its_own_source(tag: str, bentoml_home: Path, tmp_path: Path) -> None:
    # A mark in the Bento's own copy of the source shows which one runs.
    package = bentoml_home / "bentos" / tag.replace(":", "/") / "src" / "lading" / "__init__.py"
    package.write_text(package.read_text().replace('__version__ = "', '__version__ = "bento-'))
    with served("small-colour:latest", cwd=tmp_path) as client:
        assert client.post("/classify", content=red()).json()["colour"] == "red"
        assert "Lading bento-" in client.get("/docs.json").json()["info"]["description"]


@pytest.mark.slow
def test_bentoml_build_at_the_root_reads_the_bentofile(bentoml_home: Path) -> None:
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    tag = result.stdout.strip().removeprefix("__tag__:")
    source = bentoml_home / "bentos" / tag.replace(":", "/") / "src"
    assert tag.startswith("cards:")
    assert {"service.py", "lading"} <= {path.name for path in source.iterdir()}
    assert not list(source.rglob("__pycache__"))
    assert (source / "lading" / "serve" / "page.html").is_file()
