"""The BentoML service, as people start it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
from pathlib import Path

import httpx
import psutil
import pytest

from lading.artifact import Artifact
from oip_conformance.connect import subjects_of
from oip_conformance.runner import Outcome, run
from tests.given.bentoml_process import ROOT, bentoml_serve, free_port, red, served
from tests.given.changed_artifacts import with_golden_outputs
from tests.given.live_server import wait_until
from tests.given.self_signed import self_signed, shown_certificate
from tests.given.traced import PARENT, TRACE


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
        # One worker counts in memory: a full disk under BentoML's folder of metrics must not end it.
        assert not list(bentoml_home.rglob("*.db"))
        missing = client.get("/static_content/swagger-ui.css")
        assert (missing.status_code, missing.headers["content-type"]) == (404, "application/json")


@pytest.mark.slow
def test_bentomls_port_does_what_the_protocol_says(artifact: Artifact, bentoml_home: Path) -> None:
    with served(cwd=ROOT, LADING_ARTIFACT=str(artifact.path)) as client:
        subjects = subjects_of(str(client.base_url), None)
        results = run(subjects)
        for subject in subjects:
            subject.close()
    failed = [f"{result.statement.id}: {result.reason}" for result in results if result.outcome is Outcome.FAILED]
    assert not failed
    assert sum(result.outcome is Outcome.PASSED for result in results) > 100


@pytest.mark.slow
def test_connections_to_bentomls_port_have_the_limits_of_the_lean_one(artifact: Artifact, bentoml_home: Path) -> None:
    environment = {"LADING_ARTIFACT": str(artifact.path), "LADING_HEADER_TIMEOUT_S": "3", "LADING_MAX_CONNECTIONS": "2"}
    with served(cwd=ROOT, **environment) as client:
        address = (client.base_url.host, client.base_url.port or 0)
        with socket.create_connection(address, timeout=20) as late, socket.create_connection(address, timeout=20):
            late.sendall(b"POST /classify HTTP/1.1\r\nhost: x\r\n")
            refused = httpx.get(f"{client.base_url}/model")
            assert (refused.status_code, refused.json()["error"]) == (503, "as many connections are open as may")
            assert late.recv(1000).startswith(b"HTTP/1.1 408")
        with socket.create_connection(address, timeout=20) as halved:
            halved.sendall(b"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\n")
            halved.sendall(b"content-length: %d\r\n\r\n" % len(red()) + red())
            assert halved.recv(10_000).startswith(b"HTTP/1.1 200")


@pytest.mark.slow
def test_a_kept_connection_to_bentomls_port_is_answered_while_it_stops(artifact: Artifact, bentoml_home: Path) -> None:
    port, body = free_port(), red()
    request = b"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\n"
    request += b"content-length: %d\r\n\r\n" % len(body) + body
    served_here = ("--host", "127.0.0.1", "--port", str(port))
    with bentoml_serve(*served_here, cwd=ROOT, LADING_ARTIFACT=str(artifact.path)) as process:

        def ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
            return False

        wait_until(ready, 60)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as kept:
            answer = b""
            while b"connection: close" not in answer:
                kept.sendall(request)
                before, answer = answer, kept.recv(10_000)
                assert answer.startswith(b"HTTP/1.1 200")
                if not before:  # only now is it sure that the worker has the connection
                    process.send_signal(signal.SIGTERM)
            while kept.recv(10_000):
                pass  # the rest of the answer, and then the end of the connection
        process.communicate(timeout=20)


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
        traced = {"traceparent": PARENT}
        for number in range(20):
            answer = httpx.post(f"{ports[number % 2]}/classify", content=red(), headers=traced, timeout=30)
            assert answer.json()["colour"] == "red"
        for number in range(6):
            assert requests_counted(httpx.get(f"{ports[number % 2]}/metrics").text) == 20
        for url in ports:
            scraped = httpx.get(f"{url}/metrics", headers={"accept": "application/openmetrics-text"})
            assert scraped.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
            assert '# {span_id="' in scraped.text
            assert f'trace_id="{TRACE}"' in scraped.text
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
        assert "lading_workers_ended_total 1.0" in httpx.get(f"{ports[1]}/metrics").text


@pytest.mark.slow
def test_the_end_of_the_only_worker_is_the_end_of_the_server(artifact: Artifact, bentoml_home: Path) -> None:
    """BentoML would look for it after ten seconds, and start another one without a word."""
    port = free_port()
    where = ("--host", "127.0.0.1", "--port", str(port))
    process = bentoml_serve(*where, cwd=ROOT, LADING_ARTIFACT=str(artifact.path), LADING_LOG_FORMAT="json")

    def ready() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        return False

    try:
        wait_until(ready, 90)
        (worker,) = psutil.Process(process.pid).children()
        worker.kill()
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGKILL
    assert "a worker was killed by SIGKILL, most likely for memory" in said
    assert "the server ends" in said


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_worker_that_cannot_start_is_not_started_again_for_ever(
    artifact: Artifact, bentoml_home: Path, workers: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = {"LADING_HTTP_PORT": str(taken.getsockname()[1]), "LADING_WORKERS": workers}
        where = ("--host", "127.0.0.1", "--port", str(free_port()))
        process = bentoml_serve(*where, cwd=ROOT, LADING_ARTIFACT=str(artifact.path), **environment)
        try:
            said, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode not in (0, None)
    assert "is in use" in said
    assert "the server ends" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LADING_API_KEYS", "/nowhere/keys", "the key file /nowhere/keys cannot be read"),
        ("LADING_TLS_CERTIFICATE", "/nowhere/tls.crt", "go together"),
        ("LADING_LANES", "many", "a setting cannot be used: LADING_LANES"),
        ("LADING_TEXT_FORMS", "text=nowhere:read", "module 'nowhere' cannot be imported"),
    ],
)
def test_what_no_worker_could_start_with_is_refused_before_any(
    artifact: Artifact, bentoml_home: Path, name: str, value: str, says: str
) -> None:
    process = bentoml_serve(
        "--host", "127.0.0.1", "--port", str(free_port()), cwd=ROOT,
        **{"LADING_ARTIFACT": str(artifact.path), name: value},
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode not in (0, None)
    assert says in said
    assert "a worker" not in said


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
        (tmp_path / "next").mkdir()
        for new, old in zip(self_signed(tmp_path / "next"), (certificate, key), strict=True):
            new.replace(old)
        renewed = certificate.read_text()
        wait_until(lambda: shown_certificate(("127.0.0.1", port)) == renewed)
        context = ssl.create_default_context(cafile=str(certificate))
        assert httpx.get(f"https://127.0.0.1:{port}/readyz", verify=context).status_code == 200
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
            "/nowhere is not an artifact: there is no such folder; `lading build` makes an artifact",
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
