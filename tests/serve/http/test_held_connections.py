"""No client holds a connection: whatever it was answered, and however it stops, the connection ends in time."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lading.artifact import Artifact
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.raw_http import BODY, LIVEZ, answer, connected, head, overloaded, wait_closed
from tests.given.self_signed import self_signed

KEY = b"a-key-that-is-long-enough-to-be-one"
BEARER = b"authorization: Bearer " + KEY
CHUNKED = b"transfer-encoding: chunked"
LIMITS: dict[str, Any] = {"header_timeout_s": 0.2, "body_timeout_s": 0.2, "keep_alive_s": 1, "max_body_mb": 0.1}

EARLY: Mapping[str, tuple[int, bytes]] = {
    "401 with a body": (401, head(b"/predict", length=100)),
    "401, chunked": (401, head(b"/predict", CHUNKED)),
    "401 of a page": (401, head(b"/model", method=b"GET", length=100)),
    "401 with a body that is too large": (401, head(b"/predict", length=10**9)),
    "404 of a path": (404, head(b"/nothing", BEARER, length=100)),
    "404 of a path, chunked": (404, head(b"/nothing", BEARER, CHUNKED)),
    "404 of a model": (404, head(b"/predict?model=none", BEARER, length=100)),
    "404 of a model, chunked": (404, head(b"/v2/models/none/infer", BEARER, CHUNKED)),
    "405 by GET": (405, head(b"/predict", BEARER, method=b"GET", length=100)),
    "405 by PUT": (405, head(b"/v2/models/small-table/infer", BEARER, method=b"PUT", length=100)),
    "413 of an inference": (413, head(b"/predict", BEARER, length=10**6)),
    "413 of an inference, far too large": (413, head(b"/predict", BEARER, length=10**12)),
    "413 of a route that is no inference": (413, head(b"/v2/repository/index", BEARER, length=10**5)),
    "413 of feedback": (413, head(b"/feedback", BEARER, length=10**9)),
    "413 while asking for 100-continue": (413, head(b"/predict", BEARER, b"expect: 100-continue", length=10**6)),
    "415": (415, head(b"/predict", BEARER, b"content-type: text/html", length=100)),
    "431 of many bytes": (431, head(b"/predict", *[b"a%d: %s" % (n, b"x" * 1000) for n in range(40)], length=100)),
    "431 of many fields": (431, head(b"/livez", *[b"a: b"] * 120, method=b"GET", length=100)),
    "414": (414, head(b"/predict?" + b"x" * 9000, length=100)),
    "a page by GET with a body": (200, head(b"/livez", method=b"GET", length=100)),
    "a page by GET with a large body": (200, head(b"/livez", method=b"GET", length=50_000)),
    "413 of a page by GET": (413, head(b"/livez", method=b"GET", length=10**12)),
    "a page by GET, chunked": (200, head(b"/livez", CHUNKED, method=b"GET")),
    "a page after others": (200, LIVEZ * 3 + head(b"/livez", method=b"GET", length=100)),
    "a body that is late": (408, head(b"/predict", BEARER, length=100)),
    "a body that is late, chunked": (408, head(b"/predict", BEARER, CHUNKED)),
    "a body that is late, by 100-continue": (408, head(b"/predict", BEARER, b"expect: 100-continue", length=100)),
    "a body that is late for a page": (408, head(b"/v2/repository/index", BEARER, length=100)),
    "a body that is late, chunked, for a page": (408, head(b"/v2/repository/index", BEARER, CHUNKED)),
}
"""Status of the last answer, and what is sent for it: a request whose body does not come."""

ONCE_MORE = {
    "nothing": b"",
    "one byte": b"1",
    "a chunk's begin": b"5\r\nhe",
    "an empty line": b"\r\n",
}


@pytest.fixture(scope="module")
def table(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["table"], grpc_port="off", body_timeout_s=1) as live:
        yield live


@pytest.fixture(scope="module")
def guarded(small: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with a key and short timeouts."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_bytes(KEY + b"\n")
    with live_server(small["table"], grpc_port="off", api_keys=keys, feedback=10, **LIMITS) as live:
        yield live


@pytest.mark.parametrize("rest", ONCE_MORE.values(), ids=ONCE_MORE)
def test_a_connection_ends_after_every_early_answer_when_its_client_stops(guarded: LiveServer, rest: bytes) -> None:
    with contextlib.ExitStack() as stack:
        open_ones = []
        for status, request in EARLY.values():
            connection = stack.enter_context(connected(guarded))
            connection.sendall(request)
            for _ in range(request.count(LIVEZ)):
                assert answer(connection)[0] == 200
            if status != 408:
                assert answer(connection)[0] == status, request[:100]
            open_ones.append((connection, status, request))
        for connection, status, _ in open_ones:
            if status != 408:
                with contextlib.suppress(OSError):
                    connection.sendall(rest)
        for connection, status, request in open_ones:
            if status == 408:
                found, headers, _ = answer(connection)
                assert (found, headers["connection"]) == (408, "close"), request[:100]
            wait_closed(connection)


def test_a_connection_ends_when_its_client_sends_a_byte_now_and_then(guarded: LiveServer) -> None:
    def trickle(connection: socket.socket, request: bytes) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(request)
            while True:
                connection.sendall(b"\r\n")
                time.sleep(0.05)
        ended.append(request)

    ended: list[bytes] = []
    begun = [b"", b"POST /predict", b"POST /predict HTTP/1.1\r\nhost: x\r\na: "]
    with contextlib.ExitStack() as stack:
        threads = []
        for request in [*(request for _, request in EARLY.values()), *begun]:
            connection = stack.enter_context(connected(guarded))
            threads.append(threading.Thread(target=trickle, args=(connection, request)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(ended) == len(EARLY) + len(begun)


@pytest.mark.parametrize("request_", [head(b"/predict", length=100), head(b"/predict", CHUNKED)], ids=["", "chunked"])
def test_a_connection_ends_after_a_refusal_for_overload(small: dict[str, Artifact], request_: bytes) -> None:
    with overloaded(small["table"], **LIMITS) as live, connected(live) as connection:
        connection.sendall(request_)
        assert answer(connection)[0] == 429
        connection.sendall(b"1")
        wait_closed(connection)


def test_a_connection_ends_after_a_refusal_of_a_server_that_is_not_ready(small: dict[str, Artifact]) -> None:
    loading = threading.Event()
    with live_server(small["table"], ready=False, loading=loading, grpc_port="off", **LIMITS) as live:
        try:
            with connected(live) as connection:
                connection.sendall(head(b"/predict", length=100))
                assert answer(connection)[0] == 503
                connection.sendall(b"1")
                wait_closed(connection)
        finally:
            loading.set()


SHORT = b"x-request-timeout-ms: 100"
UPGRADE = (b"connection: upgrade", b"upgrade: h2c")
STALLED: Mapping[str, bytes] = {
    "before the body": head(b"/predict", SHORT, length=100),
    "in the body": head(b"/predict", SHORT, length=100) + b'{"fea',
    "of the protocol": head(b"/v2/models/small-table/infer", SHORT, length=100) + b"{",
    "before a chunk": head(b"/predict", SHORT, CHUNKED),
    "in a chunk's size": head(b"/predict", SHORT, CHUNKED) + b"1",
    "in a chunk": head(b"/predict", SHORT, CHUNKED) + b"5\r\nhe",
    "after a chunk": head(b"/predict", SHORT, CHUNKED) + b"2\r\n{}\r\n",
    "before the trailers": head(b"/predict", SHORT, CHUNKED) + b"2\r\n{}\r\n0\r\n",
    "in the trailers": head(b"/predict", SHORT, CHUNKED) + b"2\r\n{}\r\n0\r\na: b\r\nc",
    "after 100 Continue": head(b"/predict", SHORT, b"expect: 100-continue", length=100),
    "by HTTP/1.0": head(b"/predict", SHORT, length=100).replace(b"/1.1", b"/1.0"),
    "with a wish to upgrade": head(b"/predict", SHORT, *UPGRADE, length=100) + b"{",
    "with chunks and a wish to upgrade": head(b"/predict", SHORT, *UPGRADE, CHUNKED) + b"5\r\nhe",
    "of a route that is no inference": head(b"/v2/repository/index", SHORT, length=100) + b"{",
    "after other requests": LIVEZ * 2 + head(b"/predict", SHORT, length=100) + b"{",
}


@pytest.mark.parametrize("request_", STALLED.values(), ids=STALLED)
def test_a_body_that_stalls_is_the_clients_mistake_at_the_deadline(table: LiveServer, request_: bytes) -> None:
    """408, which counts against no objective of the server; not 504, and not after the longer limit of the server."""
    with connected(table) as connection:
        connection.sendall(request_)
        for _ in range(request_.count(LIVEZ)):
            assert answer(connection)[0] == 200
        status, headers, body = answer(connection)
        assert (status, headers["connection"]) == (408, "close")
        assert b"did not arrive within 0.1 s" in body
        wait_closed(connection)


def test_a_deadline_that_a_slow_body_used_up_is_the_clients_mistake(small: dict[str, Artifact]) -> None:
    request = head(b"/predict", b"x-request-timeout-ms: 600", length=len(BODY))
    gate = threading.Event()
    with live_server(small["table"], grpc_port="off", lanes=1, brief_ms=0) as live, contextlib.ExitStack() as stack:
        stack.callback(gate.set)
        live.hold(gate)
        slow, quick = (stack.enter_context(connected(live)) for _ in range(2))
        slow.sendall(request + BODY[:5])
        time.sleep(0.35)  # this long the body stalls
        slow.sendall(BODY[5:])
        quick.sendall(request + BODY)
        status, _, body = answer(slow)
        assert status == 408
        assert b"the body took" in body or b"did not arrive" in body
        assert answer(quick)[0] == 504


def test_a_tls_handshake_that_stalls_ends_with_the_time_for_headers(small: dict[str, Artifact], tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    secure = live_server(
        small["table"], grpc_port="off", header_timeout_s=0.3, tls_certificate=certificate, tls_key=key
    )
    with secure as live:
        for begun in (b"", b"\x16\x03\x01\x02\x00\x01"):
            with connected(live) as connection:
                connection.sendall(begun)
                wait_closed(connection)


PIPELINES: Mapping[str, bytes] = {
    "inference": head(b"/predict", length=len(BODY)) + BODY,
    "inference in chunks": head(b"/predict", CHUNKED) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "a page": head(b"/docs.json", method=b"GET"),
    "a probe": LIVEZ,
    "a path that is none": head(b"/nothing", method=b"GET"),
}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("request_", PIPELINES.values(), ids=PIPELINES)
def test_a_pipeline_whose_answers_are_not_read_ends_without_a_word_in_the_log(
    table: LiveServer,
    request_: bytes,
    reset: bool,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with connected(table) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.2)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 50_000_000:
                sent += connection.send(request_ * 200)
        assert sent < 50_000_000
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: not table.app.engine._pending)
    assert table.client.get("/livez").status_code == 200
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    assert "rror" not in said.out + said.err
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def test_a_head_request_leaves_no_connection_behind(guarded: LiveServer) -> None:
    with connected(guarded) as connection:
        connection.sendall(head(b"/livez", method=b"HEAD", length=10))
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"1")
        wait_closed(connection)


def test_a_connection_is_used_again_after_the_whole_body_of_a_refused_request(guarded: LiveServer) -> None:
    with connected(guarded) as connection:
        for name, (status, request) in EARLY.items():
            length = request.rpartition(b"content-length: ")[2].strip()
            if status in (401, 404, 405, 415, 200) and length.isdigit() and int(length) <= 50_000:
                connection.sendall(request + b"x" * int(length))
                for _ in range(request.count(LIVEZ)):
                    answer(connection)
                assert answer(connection)[0] == status, name
        connection.sendall(head(b"/predict", BEARER, length=len(BODY)) + BODY)
        assert answer(connection)[0] == 200


def test_a_client_that_reads_no_answers_is_cut_off(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], grpc_port="off", **LIMITS) as live, connected(live) as connection:
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # a client that never waits takes the server's time
            connection.setsockopt(socket.SOL_SOCKET, buffer, 4096)
        connection.settimeout(0.2)
        sent, page = 0, head(b"/docs.json", method=b"GET")

        def cut_off() -> bool:
            nonlocal sent
            try:
                sent += connection.send(page * 100)
            except TimeoutError:  # neither side takes more
                return False
            except OSError:
                return True
            assert sent < 50_000_000
            return False

        wait_until(cut_off)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux can be told so")
def test_the_kernel_drops_answers_that_are_not_read_of_a_connection_that_ended(guarded: LiveServer) -> None:
    def held() -> bool:
        port = f":{connection.getpeername()[1]:04X}"
        states = (line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return any(ours.endswith(port) and state in ("01", "04") for ours, _, state in states)  # open, closing

    with connected(guarded) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        page = head(b"/docs.json", BEARER, method=b"GET")
        connection.sendall(page * 20 + page.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        wait_until(held)
        wait_until(lambda: not held())


def test_an_idle_connection_ends(guarded: LiveServer) -> None:
    with connected(guarded) as connection:
        for _ in range(2):
            connection.sendall(LIVEZ)
            assert answer(connection)[0] == 200
        wait_closed(connection)
