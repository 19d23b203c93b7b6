"""Slow and hostile clients: connections, headers and bodies are bounded."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

import httpx
import pytest

from lading.artifact import Artifact
from tests.given.live_server import LiveServer, live_server, wait_until

BODY = json.dumps({"features": [[1, 2, 3, 4]]}).encode()


def connect(live: LiveServer) -> socket.socket:
    host, port = live.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def test_headers_that_do_not_come_close_the_connection(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], header_timeout_s=0.05) as live:
        with connect(live) as connection:
            assert connection.recv(1000) == b""
        for begun in (b"P", b"POST /predict HTTP/1.1\r\nhost: x\r\n"):
            with connect(live) as connection:
                connection.sendall(begun)
                answer = connection.recv(1000)
                assert answer.startswith(b"HTTP/1.1 408")
                assert b"the headers did not arrive within 0.05 s" in answer
                assert connection.recv(1000) == b""
        assert live.client.post("/predict", content=BODY).status_code == 200


def test_a_body_that_does_not_come_is_answered_408(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], body_timeout_s=0.05) as live, connect(live) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        answer = connection.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"the body did not arrive within 0.05 s" in answer
        assert connection.recv(10_000) == b""  # what still came of the body would be read as a request


def test_a_connection_too_many_is_refused_and_the_others_are_served(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], max_connections=3) as live, contextlib.ExitStack() as open_ones:
        idle = [open_ones.enter_context(connect(live)) for _ in range(2)]
        assert live.client.get("/livez").status_code == 200  # the third
        refused = httpx.get(f"{live.url}/model")
        assert (refused.status_code, refused.json()["error"]) == (503, "as many connections are open as may")
        assert live.client.post("/predict", content=BODY).status_code == 200
        idle[0].close()
        wait_until(lambda: httpx.get(f"{live.url}/model").status_code == 200)


def test_a_crowd_of_connections_does_not_keep_probes_and_scrapes_out(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], max_connections=2) as live, contextlib.ExitStack() as open_ones:
        for _ in range(3):
            open_ones.enter_context(connect(live))
        for path in ("/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"):
            answer = httpx.get(f"{live.url}{path}")
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert httpx.post(f"{live.url}/predict", content=BODY).status_code == 503


def test_a_request_on_a_kept_connection_is_answered_while_the_server_stops(small: dict[str, Artifact]) -> None:
    """Its bytes may have left the client before it could know: closing the connection at once would reset it."""
    with live_server(small["table"]) as live, connect(live) as connection, connect(live) as unused:
        request = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
        live.stop.set()
        answer = b""
        while b"connection: close" not in answer:
            connection.sendall(request)
            answer = connection.recv(10_000)
            assert answer.startswith(b"HTTP/1.1 200")
        assert connection.recv(10_000) == b""
        assert unused.recv(10_000) == b""


WHOLE = b"content-length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize("rest", [WHOLE, CHUNKED], ids=["the short way", "by ASGI"])
def test_a_client_that_leaves_the_queue_is_never_run(small: dict[str, Artifact], rest: bytes) -> None:
    with live_server(small["table"], lanes=1) as live:
        gate = threading.Event()
        live.hold(gate)
        live.app.repository.find().service_seconds = 1.0  # so that it is worth watching who leaves
        live.app.engine._backlog = 1.0
        with connect(live) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\n" + rest)
            wait_until(lambda: live.app.engine._pending == 2)
        wait_until(lambda: 'code="499"' in live.client.get("/metrics").text)
        gate.set()
        wait_until(lambda: live.app.engine._pending == 0)
        text = live.client.get("/metrics").text
        assert 'lading_inference_duration_seconds_count{model="small-table",variant="fp32"} 1.0' in text


def test_idle_connections_close_when_the_server_stops(small: dict[str, Artifact]) -> None:
    with live_server(small["table"]) as live, connect(live) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        live.stop.set()
        assert connection.recv(1000) == b""
