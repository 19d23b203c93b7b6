"""A stream is answered in the order of its requests, whatever each of them costs and whether it can be answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.artifact import Artifact
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.given.grpc_message import typed
from tests.given.live_server import LiveServer, live_server
from tests.given.small_artifacts import slow_artifact

ASK = "triton_enable_empty_final_response"
FINAL = "triton_final_response"

KINDS: dict[str, tuple[Callable[[], pb.ModelInferRequest], str]] = {
    "fast": (lambda: typed([1, 2, 3, 4]), ""),
    "slow": (lambda: typed([1, 2, 3, 4], model_name="small-slow"), ""),
    "many rows": (lambda: typed([1.0] * 400, (100, 4)), ""),
    "wrong shape": (lambda: typed([1], (1, 4)), "values"),
    "no such model": (lambda: typed([1, 2, 3, 4], model_name="x"), "no model 'x'"),
    "no input": (lambda: pb.ModelInferRequest(model_name="small-table"), "missing"),
    "wrong parameter": (
        lambda: typed([1, 2, 3, 4], parameters={ASK: pb.InferParameter(string_param="true")}),
        "bool_param",
    ),
}
"""Requests by kind, and what is in the sentence of their errors."""


@pytest.fixture(scope="module")
def both(small: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    slow: Path = tmp_path_factory.mktemp("slow")
    with live_server(small["table"], slow_artifact(slow), max_batch=128) as live:
        yield live


@pytest.fixture
def stub(both: LiveServer) -> Iterator[Any]:
    with grpc.insecure_channel(both.grpc) as channel:
        yield GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]


def with_id(kind: str, number: int) -> pb.ModelInferRequest:
    request = KINDS[kind][0]()
    request.id = str(number)
    return request


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(sorted(KINDS)), max_size=100))
def test_answers_and_errors_come_in_the_order_of_their_requests(stub: Any, kinds: list[str]) -> None:
    answers = list(stub.ModelStreamInfer(iter([with_id(kind, number) for number, kind in enumerate(kinds)])))
    assert [answer.infer_response.id for answer in answers] == [str(number) for number in range(len(kinds))]
    for kind, answer in zip(kinds, answers, strict=True):
        expected = KINDS[kind][1]
        assert bool(answer.error_message) == bool(expected)
        assert expected in answer.error_message


def test_a_message_that_cannot_be_read_ends_a_stream_after_the_answers_before_it(both: LiveServer) -> None:
    requests = [with_id("slow", 0), with_id("fast", 1)]
    with grpc.insecure_channel(both.grpc) as channel:
        call = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        answers = call(iter([*(request.SerializeToString() for request in requests), b"\xff\xff"]))
        ids = [pb.ModelStreamInferResponse.FromString(next(answers)).infer_response.id for _ in requests]
        assert ids == ["0", "1"]
        with pytest.raises(grpc.RpcError) as error:
            next(answers)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_an_answer_that_waits_for_one_before_it_is_sent_once_that_is_done(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], lanes=1) as live, grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        gate = threading.Event()
        live.hold(gate)
        wrong_was_sent = threading.Event()

        def requests() -> Iterator[pb.ModelInferRequest]:
            yield with_id("many rows", 0)
            yield with_id("wrong shape", 1)
            yield with_id("no such model", 2)
            wrong_was_sent.set()

        answers = stub.ModelStreamInfer(requests())
        assert wrong_was_sent.wait(20)
        gate.set()
        assert [answer.infer_response.id for answer in answers] == ["0", "1", "2"]


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"wrong parameter"}))
@pytest.mark.parametrize("asked", [None, False, True])
def test_the_final_response_is_marked_where_the_client_asks_for_it(stub: Any, kind: str, asked: bool | None) -> None:
    request = with_id(kind, 0)
    if asked is not None:
        request.parameters[ASK].bool_param = asked
    (answer,) = stub.ModelStreamInfer(iter([request]))
    assert (FINAL in answer.infer_response.parameters) == bool(asked)
    if asked:
        assert answer.infer_response.parameters[FINAL].bool_param
    if not answer.error_message:
        assert answer.infer_response.parameters["variant"].string_param == "fp32"


@pytest.mark.slow
def test_a_client_that_pings_often_keeps_a_stream_on_which_nothing_is_sent(both: LiveServer) -> None:
    pings = [
        ("grpc.keepalive_time_ms", 1200),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    done = threading.Event()

    def requests() -> Iterator[pb.ModelInferRequest]:
        yield typed([1, 2, 3, 4], id="first")
        done.wait(6)  # five pings; gRPC closes the connection at the third one that comes too soon
        yield typed([1, 2, 3, 4], id="second")

    with grpc.insecure_channel(both.grpc, pings) as channel:
        stream = GRPCInferenceServiceStub(channel).ModelStreamInfer(requests())  # type: ignore[no-untyped-call]
        assert [answer.infer_response.id for answer in stream] == ["first", "second"]
