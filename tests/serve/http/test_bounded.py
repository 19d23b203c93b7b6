"""What a connection may send: headers, trailers, chunks and pipelines without end are refused, in little memory."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lading.artifact import Artifact
from lading.serve.http.framing import MAX_FIELDS, MAX_HEADERS, MAX_URL
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.process_memory import memory
from tests.given.raw_http import BODY, LIVEZ, answer, connected, head
from tests.given.served_process import serving

CHUNKED = b"transfer-encoding: chunked"
GET = b"GET /livez HTTP/1.1\r\nhost: x\r\n"
MB = 1_000_000


@pytest.fixture(scope="module")
def table(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["table"], grpc_port="off") as live:
        yield live


def send(connection: socket.socket, pieces: Iterator[bytes]) -> int:
    """Send until the server takes no more; the bytes that it took."""
    sent = 0
    with contextlib.suppress(OSError):
        for piece in pieces:
            connection.sendall(piece)
            sent += len(piece)
    return sent


ENDLESS: Mapping[str, tuple[int, bytes, bytes]] = {
    "headers": (431, GET, b"a: b\r\n" * 1000),
    "headers by POST": (431, b"POST /predict HTTP/1.1\r\nhost: x\r\n", b"name: " + b"v" * 5000 + b"\r\n"),
    "a header's value": (431, GET + b"a: ", b"x" * 6000),
    "a header's name": (431, GET, b"x" * 6000),
    "a target": (414, b"GET /", b"x" * 6000),
    "a query": (414, b"POST /predict?", b"x=y&" * 1500),
    "empty lines": (431, b"", b"\r\n" * 3000),
    "empty lines after a request": (431, LIVEZ, b"\r\n" * 3000),
    "trailers": (431, head(b"/predict", CHUNKED) + b"2\r\n{}\r\n0\r\n", b"a: b\r\n" * 1000),
    "a trailer": (431, head(b"/predict", CHUNKED) + b"2\r\n{}\r\n0\r\n", b"x" * 6000),
    "a trailer's value": (431, head(b"/v2/repository/index", CHUNKED) + b"0\r\na: ", b"x" * 6000),
    "a chunk's extension": (431, head(b"/predict", CHUNKED) + b"2;", b"x" * 6000),
    "chunks' extensions": (431, head(b"/predict", CHUNKED), b"1;" + b"x" * 5000 + b"\r\n{\r\n"),
    "a method": (400, b"", b"X" * 6000),
    "zeros": (400, b"", b"\0" * 6000),
}


@pytest.mark.parametrize(("status", "begin", "more"), ENDLESS.values(), ids=ENDLESS)
def test_what_never_ends_is_refused_in_a_sentence_soon(
    table: LiveServer, status: int, begin: bytes, more: bytes
) -> None:
    with connected(table) as connection:
        connection.sendall(begin)
        if begin == LIVEZ:
            assert answer(connection)[0] == 200
        sent = send(connection, (more for _ in range(40)))
        found, headers, body = answer(connection)
        assert (found, headers["connection"], headers["content-type"]) == (status, "close", "application/json")
        content = json.loads(body)
        assert content["status"] == status
        assert len(content["error"]) < 200
        assert sent <= 240_000
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    assert table.client.get("/livez").status_code == 200


@pytest.mark.parametrize("piece", [1, 1000, 4096, 65_536, 10**6])
def test_headers_up_to_the_limits_are_read_in_pieces_of_any_size(table: LiveServer, piece: int) -> None:
    filler = [b"n%d: %s\r\n" % (n, b"v" * 8000) for n in range(4)]
    own = len(GET) - len(b"GET HTTP/1.1\r\n")
    room = MAX_HEADERS - sum(map(len, filler)) - own - len(b"z: \r\n")

    def sent(request: bytes) -> int:
        with connected(table) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            step = piece if piece > 1 else 500
            for at in range(0, len(request), step):
                connection.sendall(request[at : at + step])
            return answer(connection)[0]

    assert sent(GET + b"".join(filler) + b"z: " + b"v" * room + b"\r\n\r\n") == 200
    assert sent(GET + b"".join(filler) + b"z: " + b"v" * (room + 20) + b"\r\n\r\n") == 431
    assert sent(GET + b"a: b\r\n" * (MAX_FIELDS - 1) + b"\r\n") == 200
    assert sent(GET + b"a: b\r\n" * MAX_FIELDS + b"\r\n") == 431
    assert sent(head(b"/livez?" + b"x" * (MAX_URL - 7), method=b"GET")) == 200
    assert sent(head(b"/livez?" + b"x" * (MAX_URL - 6), method=b"GET")) == 414


def test_a_long_pipeline_is_answered_in_order(table: LiveServer) -> None:
    requests = b"".join(head(b"/nothing", b"x-request-id: n%d" % n, method=b"GET") for n in range(4000))
    with connected(table) as connection:
        connection.sendall(requests)
        for number in range(4000):
            status, headers, _ = answer(connection)
            assert (status, headers["x-request-id"]) == (404, f"n{number}")


def test_bodies_in_a_pipeline_are_read_to_their_ends(table: LiveServer) -> None:
    large = json.dumps({"features": [[1, 2, 3, 4]] * 100}).encode()
    chunked = head(b"/predict", CHUNKED) + b"%x\r\n%s\r\n0\r\na: trailer\r\n\r\n" % (len(large), large)
    one = head(b"/predict", length=len(large)) + large + chunked + head(b"/nothing", length=5000) + b"x" * 5000
    with connected(table) as connection:
        for _ in range(3):
            connection.sendall(one * 10)
            assert [answer(connection)[0] for _ in range(30)] == [200, 200, 404] * 10


def test_a_body_in_chunks_of_one_byte_is_read(table: LiveServer) -> None:
    padded = BODY + b" " * 50_000
    with connected(table) as connection:
        connection.sendall(
            head(b"/predict", CHUNKED) + b"".join(b"1\r\n%c\r\n" % byte for byte in padded) + b"0\r\n\r\n"
        )
        assert answer(connection)[0] == 200


def test_a_refused_request_does_not_cut_off_the_answers_before_it(table: LiveServer) -> None:
    body = json.dumps({"features": [[1, 2, 3, 4]] * 128}).encode()
    first = head(b"/predict", CHUNKED) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    for bad, status in ((b"nonsense\r\n\r\n", 400), (GET + b"a: b\r\n" * 200 + b"\r\n", 431)):
        with connected(table) as connection:
            connection.sendall(first + bad)
            assert [answer(connection)[0] for _ in range(2)] == [200, status]
            assert connection.recv(1) == b""


@pytest.mark.parametrize(
    "path", ["/v2/repository/index", "/v2/repository/models/x/load", "/nothing", "/model", "/docs.json"]
)
def test_a_body_of_150_mb_is_refused_by_every_route(table: LiveServer, path: str) -> None:
    with connected(table) as connection:
        connection.sendall(head(path.encode(), length=150 * MB))
        sent = send(connection, (bytes(MB) for _ in range(150)))
        assert answer(connection)[0] == 413
        assert sent > 0
    refused = table.client.post(path, content=(bytes(MB // 10) for _ in range(3)))  # chunked
    by_path = {"/v2/repository/index": 413, "/v2/repository/models/x/load": 413, "/nothing": 404}
    assert refused.status_code == by_path.get(path, 405)


def test_thirty_unfinished_uploads_hold_no_more_than_the_queue_may(small: dict[str, Artifact], tmp_path: Path) -> None:
    limited = serving(small["table"].path, tmp_path / "log", LADING_MAX_QUEUE_MB="64", LADING_DEADLINE_MS="60000")
    with limited as served, contextlib.ExitStack() as stack:
        host, port = served.url.removeprefix("http://").split(":")

        before = memory(served.process.pid)
        refused, body = 0, bytes(14 * MB)
        declared = head(b"/predict", length=15 * MB) + body
        chunked = head(b"/predict", CHUNKED) + b"%x\r\n%s" % (15 * MB, body)
        for number in range(30):
            connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
            connection.settimeout(0.2)
            with contextlib.suppress(OSError):
                connection.sendall(declared if number % 2 else chunked)
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                answered = connection.recv(100)
                assert answered.startswith(b"HTTP/1.1 429"), answered
                refused += 1
        assert refused == 26
        assert memory(served.process.pid, "VmHWM") - before < 110 * MB
        small_one = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
        small_one.sendall(head(b"/predict", length=len(BODY)) + BODY)
        assert answer(small_one)[0] == 200


def test_what_clients_send_ahead_of_their_answers_is_bounded_together(small: dict[str, Artifact]) -> None:
    gate = threading.Event()
    # One request, and after it what is refused as soon as it is parsed.
    ahead = head(b"/livez", b"a: " + b"x" * 4000, method=b"GET") + b"nonsense" * 30_000
    limited = live_server(small["table"], lanes=1, grpc_port="off", brief_ms=0, max_queue=1000)
    with limited as live, contextlib.ExitStack() as stack:
        live.hold(gate)
        crowd = [stack.enter_context(connected(live)) for _ in range(400)]
        for connection in crowd:
            connection.settimeout(0.01)
            connection.sendall(head(b"/predict", length=len(BODY)) + BODY)
            send(connection, iter([ahead]))
        assert live.client.get("/livez").status_code == 200
        gate.set()
        last = crowd[-1]
        for connection in (crowd[0], last):
            connection.settimeout(20)
        assert [answer(crowd[0])[0] for _ in range(3)] == [200, 200, 400]
        assert answer(last)[0] == 200
        status = answer(last)[0]
        assert 429 in (status, status == 200 and answer(last)[0])
        with contextlib.suppress(ConnectionResetError):
            assert last.recv(1) == b""


def test_bodies_of_every_route_count_as_arriving(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], lanes=1, max_queue=0, grpc_port="off") as live, contextlib.ExitStack() as stack:
        for _ in range(32):
            connection = stack.enter_context(connected(live))
            connection.sendall(head(b"/v2/repository/index", CHUNKED) + b"5\r\nhe")
        engine = live.app.engine
        assert live.client.get("/livez").status_code == 200
        wait_until(lambda: engine._uploads == 32)
        for _ in range(32):
            connection = stack.enter_context(connected(live))
            connection.sendall(head(b"/v2/repository/index", length=60_000) + b"{")
        wait_until(lambda: engine._uploads == 64)
        refused = live.client.post("/v2/repository/index", content=b"{}")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert live.client.get("/livez").status_code == 200
    assert (engine._uploads, engine._upload_bytes) == (0, 0)
