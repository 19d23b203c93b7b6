"""Ten thousand idle connections, fewer where files are limited, and clients that do not read what they asked for."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from lading.artifact import Artifact
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.serve.http.connections import OWN, most_connections
from tests.given.grpc_message import typed
from tests.given.live_server import live_server, wait_until
from tests.given.served_process import serving

BODY = b'{"features": [[1, 2, 3, 4]]}'
ASK = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY


def connected(url: str, count: int, held: contextlib.ExitStack) -> list[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    return [held.enter_context(socket.create_connection((host, int(port)), timeout=30)) for _ in range(count)]


@pytest.mark.slow
def test_ten_thousand_idle_connections_are_held_and_one_more_is_refused(
    small: dict[str, Artifact], tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    many = min(10_000, hard - 2 * OWN)
    log = tmp_path / "log"
    try:
        limited = serving(small["table"].path, log, LADING_MAX_CONNECTIONS=str(many), LADING_HEADER_TIMEOUT_S="600")
        with limited as served, contextlib.ExitStack() as held:
            crowd = connected(served.url, many, held)
            for connection in (crowd[0], crowd[many // 2], crowd[-1]):
                connection.sendall(ASK)
                assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            (refused,) = connected(served.url, 1, held)
            refused.sendall(ASK)
            assert refused.recv(1000).startswith(b"HTTP/1.1 503")
            with grpc.insecure_channel(served.grpc) as channel:  # a port of its own
                stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
                assert stub.ServerReady(pb.ServerReadyRequest(), timeout=30).ready
            crowd[1].close()

            def let_in() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return httpx.get(f"{served.url}/model").status_code == 200
                return False

            wait_until(let_in)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "Traceback" not in served.log.read_text()


@pytest.mark.slow
def test_where_files_are_few_connections_are_refused_and_not_left_waiting(
    small: dict[str, Artifact], tmp_path: Path
) -> None:
    with serving(small["table"].path, tmp_path / "log", files=OWN + 64) as served, contextlib.ExitStack() as held:
        crowd = connected(served.url, 90, held)
        for connection in crowd[-20:]:
            connection.sendall(ASK)
            assert connection.recv(1000).startswith(b"HTTP/1.1 503")
        crowd[0].sendall(ASK)
        assert crowd[0].recv(1000).startswith(b"HTTP/1.1 200")


def test_no_more_connections_are_taken_than_files_may_be_open() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert most_connections(10) == 10
    if hard != resource.RLIM_INFINITY:
        assert most_connections(10**9) == hard - OWN


@pytest.mark.slow
def test_a_stream_whose_client_does_not_read_is_not_read_from_without_end(small: dict[str, Artifact]) -> None:
    sent, done = 0, threading.Event()

    def requests() -> Iterator[pb.ModelInferRequest]:
        nonlocal sent
        while not done.is_set() and sent < 1_000_000:
            sent += 1
            yield request

    request = typed([1.0] * 4 * 100, (100, 4), id="x" * 200)
    with live_server(small["table"]) as live, grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.ModelStreamInfer(requests())
        seen = [-1]

        def stands_still() -> bool:
            seen.append(sent)
            return sent > 100 and len(seen) > 200 and seen[-1] == seen[-200]  # for a second

        wait_until(stands_still, 60)
        assert sent < 20_000
        wait_until(lambda: live.app.engine._pending == 0)
        assert stub.ModelInfer(typed([1, 2, 3, 4])).outputs[0].contents.fp32_contents[0] == 10
        assert live.client.post("/predict", content=BODY).status_code == 200
        done.set()
        call.cancel()
        wait_until(lambda: "lading_requests_in_flight 0.0" in live.client.get("/metrics").text)


def test_a_stream_that_is_cancelled_leaves_the_queue(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], lanes=1) as live, grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        gate = threading.Event()
        live.hold(gate)
        call = stub.ModelStreamInfer(iter([typed([1, 2, 3, 4])] * 20))
        wait_until(lambda: live.app.engine._pending == 21)
        call.cancel()
        wait_until(lambda: "lading_requests_in_flight 0.0" in live.client.get("/metrics").text)
        gate.set()
        wait_until(lambda: live.app.engine._pending == 0)
        text = live.client.get("/metrics").text
    assert 'lading_inference_duration_seconds_count{model="small-table",variant="fp32"} 1.0' in text


def test_the_largest_request_is_one_number_over_rest_and_grpc_and_in_both_errors(small: dict[str, Artifact]) -> None:
    limit = 20_000
    with live_server(small["table"], max_body_mb=limit / 1e6) as live, grpc.insecure_channel(live.grpc) as channel:
        assert live.client.get("/v2").json()["max_message_bytes"] == limit
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(typed([1.0] * 40_000, (10_000, 4)))
        assert str(limit) in refused.value.details()
        answer = live.client.post("/v2/models/small-table/infer", content=b"x" * (limit + 1))
        assert answer.status_code == 413
        assert str(limit) in answer.json()["error"]
    with live_server(small["table"], grpc_max_message_mb=0.01) as live:
        server = live.client.get("/v2").json()
        assert (server["max_message_bytes"], server["max_grpc_message_bytes"]) == (16_000_000, 10_000)


def test_a_message_that_is_too_large_is_refused_by_grpc_itself(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], grpc_max_message_mb=0.01) as live, grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(typed([1.0] * 40_000, (10_000, 4)))
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.ModelInfer(typed([1, 2, 3, 4])).outputs
