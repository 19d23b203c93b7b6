"""Retries with the same id: the kept answer, one run, bounded memory; off by default."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from lading.artifact import Artifact
from lading.errors import SettingsError
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.serve.kept_answers import LARGE
from lading.settings import Settings
from tests.given.grpc_message import typed
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.payload_rows import rows_in

BODY = {"features": [[1, 2, 3, 4]]}
OTHER = {"features": [[5, 6, 7, 8]]}
V2 = "/v2/models/small-table/infer"
V2_BODY = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
REPLAYED = "idempotency-replayed"


@pytest.fixture
def live(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["table"], idempotency_mb=1, lanes=1, brief_ms=0) as served:
        yield served


def decoded(live: LiveServer) -> float:
    """Requests that the model was asked to answer."""
    labels = {"model": "small-table", "variant": "fp32"}
    return live.app.metrics.registry.get_sample_value("lading_decode_duration_seconds_count", labels) or 0.0


def retries(live: LiveServer, result: str) -> float | None:
    return live.app.metrics.registry.get_sample_value("lading_idempotent_retries_total", {"result": result})


def waiting(live: LiveServer, count: int) -> None:
    wait_until(lambda: live.app.metrics.registry.get_sample_value("lading_requests_in_flight") == count)


@pytest.mark.parametrize("header", ["idempotency-key", "x-request-id"])
@pytest.mark.parametrize(("path", "body"), [("/predict", BODY), (V2, V2_BODY)])
def test_a_retry_gets_the_first_answer_and_is_not_run(live: LiveServer, header: str, path: str, body: object) -> None:
    first, again = (live.client.post(path, json=body, headers={header: "order-7"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.content == again.content
    assert first.headers["x-request-id"] == again.headers["x-request-id"]
    assert (REPLAYED in first.headers, again.headers[REPLAYED]) == (False, "true")
    assert (decoded(live), retries(live, "replayed")) == (1, 1)


def test_nothing_is_kept_by_default(table: LiveServer) -> None:
    before = decoded(table)
    for _ in range(2):
        answer = table.client.post("/predict", json=BODY, headers={"idempotency-key": "a", "x-request-id": "a"})
        assert REPLAYED not in answer.headers
    assert decoded(table) == before + 2


def test_requests_without_an_id_run_each(live: LiveServer) -> None:
    for headers in ({}, {}, {"x-request-id": "not a usable id"}, {"x-request-id": "not a usable id"}):
        assert REPLAYED not in live.client.post("/predict", json=BODY, headers=headers).headers
    assert decoded(live) == 4


def test_a_body_of_unknown_length_is_known_again(live: LiveServer) -> None:
    def parts() -> Iterator[bytes]:
        yield b'{"features": '
        yield b"[[1, 2, 3, 4]]}"

    headers = {"idempotency-key": "chunks", "content-type": "application/json"}
    answers = [live.client.post("/predict", content=parts(), headers=headers) for _ in range(2)]
    assert [REPLAYED in answer.headers for answer in answers] == [False, True]
    assert decoded(live) == 1


def test_a_large_body_is_known_again(live: LiveServer) -> None:
    content = b'{"features": [[1, 2, 3, 4]]}' + b" " * LARGE
    for header in ({"idempotency-key": "large"}, {"x-request-id": "large"}, {"x-request-id": "no usable id"}):
        headers = {**header, "content-type": "application/json"}
        answers = [live.client.post("/predict", content=content, headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert REPLAYED not in answers[0].headers
    assert decoded(live) == 4
    changed = live.client.post("/predict", content=content + b" ", headers={"idempotency-key": "large"})
    assert changed.status_code == 422


def test_another_body_with_the_same_key_is_refused_with_a_sentence(live: LiveServer) -> None:
    assert live.client.post("/predict", json=BODY, headers={"idempotency-key": "k"}).status_code == 200
    refused = live.client.post("/predict", json=OTHER, headers={"idempotency-key": "k"})
    assert refused.status_code == 422
    assert refused.json()["error"].startswith("the idempotency-key was sent with another body less than a minute ago")
    assert (decoded(live), retries(live, "refused")) == (1, 1)


def test_another_body_with_the_same_request_id_is_another_request(live: LiveServer) -> None:
    """Services pass the id on to all requests of one user action."""
    answers = [live.client.post("/predict", json=body, headers={"x-request-id": "i"}) for body in (BODY, OTHER, BODY)]
    assert [REPLAYED in answer.headers for answer in answers] == [False, False, True]
    assert answers[0].content == answers[2].content != answers[1].content


@pytest.mark.parametrize(
    "changed",
    [
        {"headers": {"idempotency-key": "k", "authorization": "Bearer another"}},
        {"url": "/predict?variant=fp32&model=small-table", "headers": {"idempotency-key": "k"}, "replayed": True},
        {"url": V2, "json": V2_BODY, "headers": {"idempotency-key": "k"}},
        {"headers": {"x-request-id": "k"}},
    ],
    ids=["caller", "the same model by its name", "route", "kind of id"],
)
def test_only_the_same_caller_route_and_id_share_an_answer(live: LiveServer, changed: dict[str, Any]) -> None:
    first = {"url": "/predict", "json": BODY, "headers": {"idempotency-key": "k", "authorization": "Bearer one"}}
    if replayed := changed.pop("replayed", False):
        first["headers"] = changed["headers"]
    live.client.post(**first)  # type: ignore[arg-type]
    answer = live.client.post(**{**first, **changed})
    assert answer.status_code == 200
    assert (REPLAYED in answer.headers) is replayed


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb", "clé"])
def test_a_key_that_cannot_be_used_is_refused_by_name(live: LiveServer, key: str) -> None:
    answer = live.client.post("/predict", json=BODY, headers=[(b"idempotency-key", key.encode())])
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("idempotency-key is ")
    assert answer.json()["error"].endswith("send 1 to 255 visible ASCII characters")


def test_a_refusal_of_the_body_is_kept_and_an_overload_is_not(live: LiveServer) -> None:
    wrong = {"features": "no"}
    first, again = (live.client.post("/predict", json=wrong, headers={"x-request-id": "w"}) for _ in range(2))
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert first.status_code == 400
    assert again.headers[REPLAYED] == "true"
    gate = threading.Event()
    live.hold(gate)
    late = live.client.post("/predict", json=BODY, headers={"x-request-id": "l", "x-request-timeout-ms": "50"})
    gate.set()
    assert late.status_code in (429, 504)
    again = live.client.post("/predict", json=BODY, headers={"x-request-id": "l"})
    assert (again.status_code, REPLAYED in again.headers) == (200, False)


def test_a_twin_waits_for_the_request_that_runs(live: LiveServer) -> None:
    gate = threading.Event()
    live.hold(gate)

    def ask(_: int) -> httpx.Response:
        return httpx.post(f"{live.url}/predict", json=BODY, headers={"idempotency-key": "twin"}, timeout=20)

    with ThreadPoolExecutor(5) as pool:
        asked = pool.map(ask, range(5))
        waiting(live, 5)
        gate.set()
        answers = list(asked)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sum(REPLAYED in answer.headers for answer in answers) == 4
    assert decoded(live) == 2  # one of them, and the request that held the lane
    waiting(live, 0)


def test_a_twin_has_its_own_deadline(live: LiveServer) -> None:
    gate = threading.Event()
    live.hold(gate)
    with ThreadPoolExecutor(1) as pool:
        headers = {"idempotency-key": "slow"}
        first = pool.submit(httpx.post, f"{live.url}/predict", json=BODY, headers=headers, timeout=20)
        waiting(live, 1)
        live.app.repository.find().service_seconds = 0.0  # so that it is accepted
        late = live.client.post("/predict", json=BODY, headers={**headers, "x-request-timeout-ms": "300"})
        gate.set()
        assert first.result().status_code == 200
    assert late.status_code == 504
    assert late.json()["error"].startswith("the deadline passed while an earlier request with the same id was running")


def test_a_retry_after_a_lost_connection_gets_the_answer_of_the_request_that_ran(live: LiveServer) -> None:
    gate = threading.Event()
    live.hold(gate)
    content = b'{"features": [[1, 2, 3, 4]]}'
    host, port = live.url.removeprefix("http://").split(":")
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\nidempotency-key: lost\r\ncontent-type: application/json\r\n"
    head += b"accept: */*\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head + b"content-length: %d\r\n\r\n" % len(content) + content)
        waiting(live, 1)
    waiting(live, 0)
    gate.set()
    wait_until(lambda: decoded(live) == 2)  # the other one held the lane
    headers = {"idempotency-key": "lost", "content-type": "application/json"}
    again = live.client.post("/predict", content=content, headers=headers)
    assert (again.status_code, again.headers[REPLAYED]) == (200, "true")
    assert decoded(live) == 2


def test_a_client_that_waits_for_its_twin_may_leave(live: LiveServer) -> None:
    gate = threading.Event()
    live.hold(gate)
    with ThreadPoolExecutor(1) as pool:
        headers = {"idempotency-key": "leaves"}
        first = pool.submit(httpx.post, f"{live.url}/predict", json=BODY, headers=headers, timeout=20)
        waiting(live, 1)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{live.url}/predict", json=BODY, headers=headers, timeout=0.3)
        waiting(live, 1)
        gate.set()
        assert first.result().status_code == 200
    waiting(live, 0)


def test_a_grpc_retry_gets_the_first_answer_too(live: LiveServer) -> None:
    with grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        metadata = (("idempotency-key", "call"),)
        first, _ = stub.ModelInfer.with_call(typed([1, 2, 3, 4]), metadata=metadata)
        again, call = stub.ModelInfer.with_call(typed([1, 2, 3, 4]), metadata=metadata)
        assert first == again
        assert dict(call.trailing_metadata())[REPLAYED] == "true"
        assert decoded(live) == 1
        with pytest.raises(grpc.RpcError, match="was sent with another body less than a minute ago"):
            stub.ModelInfer(typed([4, 3, 2, 1]), metadata=metadata)
        # The metadata of a stream name the stream, not its messages.
        assert len(list(stub.ModelStreamInfer(iter([typed([1, 2, 3, 4])] * 3), metadata=metadata))) == 3
        assert decoded(live) == 4


def test_a_retry_is_recorded_once(small: dict[str, Artifact], tmp_path: Path) -> None:
    with live_server(small["table"], idempotency_mb=1, payload_log=str(tmp_path)) as live:
        for key in ("one", "one", "two", "one"):
            live.client.post("/predict", json=BODY, headers={"idempotency-key": key})
    assert len(rows_in(tmp_path, "small-table")) == 2


def test_the_api_document_names_the_key_where_it_is_read(live: LiveServer, table: LiveServer) -> None:
    def named(server: LiveServer) -> set[str]:
        paths = server.client.get("/docs.json").json()["paths"]
        return {path for path, item in paths.items() if "Idempotency-Key" in str(item)}

    assert {path.replace("/small-table/", "/NAME/") for path in named(live)} == {"/predict", "/v2/models/NAME/infer"}
    assert not named(table)


def test_several_workers_and_kept_answers_do_not_go_together() -> None:
    with pytest.raises(SettingsError, match="LADING_IDEMPOTENCY_MB needs LADING_WORKERS=1"):
        Settings(idempotency_mb=1, workers=2)
