"""Refused as soon as the headers are read: what the client sees, what is counted, and the connection afterwards."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from lading.artifact import Artifact
from tests.given.engine import value
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.raw_http import BODY, LIVEZ, answer, connected, overloaded

TRACE = b"0af7651916cd43dd8448eb211c80319c"


def post(*headers: bytes, path: bytes = b"/predict", length: int = len(BODY), version: bytes = b"1.1") -> bytes:
    lines = [b"POST %s HTTP/%s" % (path, version), b"host: x", b"content-length: %d" % length, *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@pytest.mark.parametrize("path", [b"/predict", b"/predict?variant=fp32", b"/v2/models/small-table/infer"])
def test_a_request_is_refused_before_its_body_comes_and_the_connection_goes_on(
    small: dict[str, Artifact], path: bytes
) -> None:
    with overloaded(small["table"]) as live, connected(live) as connection:
        for number in range(3):
            name = f"mine-{number}"
            connection.sendall(post(b"x-request-id: " + name.encode(), path=path, length=100_000))
            status, headers, body = answer(connection)
            assert (status, headers["x-request-id"], headers["retry-after"]) == (429, name, "1")
            assert headers["content-type"] == "application/json"
            content = json.loads(body)
            assert (content["status"], content["request_id"]) == (429, name)
            assert "send it again later" in content["error"]
            connection.sendall(b"x" * 100_000)
        connection.sendall(LIVEZ)
        assert answer(connection)[0] == 200


def test_a_refusal_is_the_same_whether_or_not_the_app_was_asked(small: dict[str, Artifact]) -> None:
    with overloaded(small["table"]) as live, connected(live) as connection:
        asked = post(b"x-request-id: same", b"traceparent: 00-" + TRACE + b"-b7ad6b7169203331-01")
        found = []
        for expect in (b"", b"expect: 100-continue\r\n"):  # which the app answers
            connection.sendall(asked[:-2] + expect + b"\r\n")
            found.append(answer(connection))
            connection.sendall(BODY)
        (status, headers, body), (long_status, long_headers, long_body) = found
        assert (status, body) == (long_status, long_body)
        assert list(headers) == list(long_headers)
        assert headers["traceparent"].split("-")[1].encode() == TRACE
        for own in ("date", "traceparent"):
            headers.pop(own)
            long_headers.pop(own)
        assert headers == long_headers


def test_each_refusal_is_counted_once(small: dict[str, Artifact]) -> None:
    with overloaded(small["table"]) as live, connected(live) as connection:

        def counted() -> list[float]:
            known = {"model": "small-table", "variant": "fp32", "protocol": "http"}
            return [
                value(live.app, "lading_shed_total", reason="queue"),
                value(live.app, "lading_requests_total", **known, code="429"),
                value(live.app, "lading_request_duration_seconds_count", **known),
                value(live.app, "lading_requests_in_flight"),
            ]

        before = counted()
        for _ in range(5):
            connection.sendall(post() + BODY)
            assert answer(connection)[0] == 429
        assert counted() == [before[0] + 5, before[1] + 5, before[2] + 5, before[3]]


def test_pipelined_requests_are_answered_in_order(small: dict[str, Artifact]) -> None:
    with overloaded(small["table"]) as live, connected(live) as connection:
        first, second = post(b"x-request-id: first") + BODY, post(b"x-request-id: second") + BODY
        connection.sendall(LIVEZ + first + LIVEZ + second + second + LIVEZ)
        found = [answer(connection) for _ in range(6)]
        assert [status for status, _, _ in found] == [200, 429, 200, 429, 429, 200]
        assert [found[place][1]["x-request-id"] for place in (1, 3, 4)] == ["first", "second", "second"]


def test_a_chunked_body_is_dropped_as_well(small: dict[str, Artifact]) -> None:
    with overloaded(small["table"]) as live, connected(live) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        assert answer(connection)[0] == 429
        connection.sendall(b"5\r\nhello\r\n" * 1000 + b"0\r\n\r\n" + LIVEZ)
        assert answer(connection)[0] == 200


@pytest.mark.parametrize(("header", "version"), [(b"connection: close", b"1.1"), (b"accept: */*", b"1.0")])
def test_a_connection_that_is_not_kept_closes_after_the_answer(
    small: dict[str, Artifact], header: bytes, version: bytes
) -> None:
    with overloaded(small["table"]) as live, connected(live) as connection:
        connection.sendall(post(header, version=version) + BODY)
        assert answer(connection)[0] == 429
        assert connection.recv(1) == b""


def test_a_refused_body_that_does_not_come_closes_the_connection(small: dict[str, Artifact]) -> None:
    with overloaded(small["table"], body_timeout_s=0.05) as live, connected(live) as connection:
        connection.sendall(post(length=100))
        assert answer(connection)[0] == 429
        assert connection.recv(1) == b""


def test_a_key_is_asked_for_before_the_queue_is_told_of(small: dict[str, Artifact], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-that-is-long-enough-to-be-one\n")
    bearer = b"authorization: Bearer a-key-that-is-long-enough-to-be-one"
    with overloaded(small["table"], api_keys=keys) as live, connected(live) as connection:
        for headers, expected in (((bearer,), 429), ((), 401), ((bearer,), 429), ((), 401)):
            connection.sendall(post(*headers) + BODY)
            assert answer(connection)[0] == expected


def test_nothing_but_inference_is_refused(small: dict[str, Artifact]) -> None:
    with overloaded(small["table"]) as live, connected(live) as connection:
        connection.sendall(post(path=b"/nothing") + BODY)
        assert answer(connection)[0] == 404
        connection.sendall(post(path=b"/predict?model=none") + BODY)
        assert answer(connection)[0] == 404
        assert live.client.get("/metrics").status_code == 200
        assert live.client.get("/predict").status_code == 405


def refuses_connections(live: LiveServer) -> bool:
    try:
        connected(live).__enter__().close()
    except ConnectionRefusedError:
        return True
    return False


def answer_to(connection: socket.socket, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    for part in parts:
        connection.sendall(part)
    return answer(connection)


def test_the_short_way_and_asgis_give_the_same_answers_and_count_the_same(small: dict[str, Artifact]) -> None:
    """ASGI's is taken by a body whose length is not known beforehand."""

    def whole(body: bytes) -> bytes:
        return post(b"x-request-id: same", length=len(body)) + body

    def chunked(body: bytes) -> bytes:
        head = b"POST /predict HTTP/1.1\r\nhost: x\r\nx-request-id: same\r\ntransfer-encoding: chunked\r\n\r\n"
        return head + (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"

    bodies = [BODY, b"", b"{", b'{"features": [[1, 2]]}', b'{"features": [[1, 2, 3, 1e39]]}']
    with live_server(small["table"], grpc_port="off") as live, connected(live) as connection:

        def counted(code: str) -> float:
            return value(live.app, "lading_requests_total", model="small-table", protocol="http", code=code)

        by_way = []
        for way in (whole, chunked):
            found = [answer_to(connection, way(body)) for body in bodies]
            assert [status for status, _, _ in found] == [200, 400, 400, 400, 400]
            assert (counted("200"), counted("400")) == ((1, 4) if way is whole else (2, 8))
            for _, headers, _ in found:
                headers.pop("date")
            by_way.append(found)
        assert by_way[0] == by_way[1]


def test_a_body_that_comes_in_pieces_is_put_together(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], grpc_port="off") as live, connected(live) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        whole = post() + BODY
        for cuts in ((30, 70), (len(whole) - len(BODY), len(whole) - 3), tuple(range(len(whole) - 20, len(whole)))):
            pieces = [whole[begin:end] for begin, end in zip((0, *cuts), (*cuts, len(whole)), strict=True)]
            status, _, body = answer_to(connection, *pieces)
            assert (status, json.loads(body)["outputs"]) == (200, {"total": [[10.0]]})


def test_requests_that_do_not_wait_for_answers_get_them_in_order(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], grpc_port="off") as live, connected(live) as connection:
        sent = [post(b"x-request-id: n%d" % number) + BODY for number in range(20)]
        connection.sendall(b"".join([*sent, LIVEZ]))
        found = [answer(connection) for _ in range(21)]
        assert [headers["x-request-id"] for _, headers, _ in found[:20]] == [f"n{number}" for number in range(20)]
        assert {status for status, _, _ in found} == {200}


def test_a_request_that_is_due_when_the_server_stops_is_answered_and_its_connection_closed(
    small: dict[str, Artifact],
) -> None:
    gate = threading.Event()
    with live_server(small["table"], lanes=1, grpc_port="off", brief_ms=0) as live, connected(live) as connection:
        live.hold(gate)
        connection.sendall(post() + BODY)
        wait_until(lambda: live.app.engine._pending == 2)
        live.stop.set()
        wait_until(lambda: refuses_connections(live))
        gate.set()
        status, headers, _ = answer(connection)
        assert (status, headers["connection"]) == (200, "close")
        assert connection.recv(1) == b""


def test_a_client_that_leaves_before_its_body_has_come_is_counted_once(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], grpc_port="off") as live:
        with connected(live) as connection:
            connection.sendall(post(length=100) + b"{")
            wait_until(lambda: value(live.app, "lading_requests_in_flight") == 1)
        wait_until(lambda: value(live.app, "lading_requests_in_flight") == 0)
        assert value(live.app, "lading_requests_total", model="small-table", code="499") == 1
        assert live.client.post("/predict", content=BODY).status_code == 200
