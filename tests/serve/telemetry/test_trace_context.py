"""W3C Trace Context, in and out, over REST and gRPC, with tracing off."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.artifact import Artifact
from lading.log import configure_logging
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.serve.telemetry.trace_context import TraceContext, read_trace_context
from tests.given.grpc_message import typed
from tests.given.live_server import LiveServer, live_server
from tests.given.traced import BODY, PARENT, SPAN, TRACE, answered


def test_a_valid_header_is_read_as_it_was_written() -> None:
    context = read_trace_context(PARENT.encode(), b"congo=t61rcWkgMzE, rojo=00f067aa0ba902b7")
    assert context == TraceContext(TRACE, SPAN, 1, "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")
    assert context.traceparent == PARENT
    assert context.sampled
    own = context.own_span()
    assert (own.trace_id, own.flags, own.state) == (TRACE, 1, context.state)
    assert own.span_id != SPAN


@pytest.mark.parametrize(
    "header",
    [
        "",
        PARENT.upper(),
        PARENT + "-more",
        "ff" + PARENT[2:],
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
    ],
)
def test_an_invalid_header_is_as_none(header: str) -> None:
    assert read_trace_context(header.encode()) is None


def test_a_later_version_is_read_as_far_as_this_one_goes() -> None:
    context = read_trace_context(f"cc-{TRACE}-{SPAN}-09-what-comes-next".encode())
    assert context is not None
    assert context.traceparent == PARENT  # unknown flags are not passed on


@pytest.mark.parametrize("state", [b"a", b"a=1,a=2", b"A=1", b"a=\xff", b",".join(b"k%d=1" % n for n in range(33))])
def test_an_invalid_state_is_dropped_and_the_parent_kept(state: bytes) -> None:
    context = read_trace_context(PARENT.encode(), state)
    assert context is not None
    assert context.state == ""


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_no_header_is_worse_than_none(parent: bytes, state: bytes) -> None:
    context = read_trace_context(parent, state)
    if context is not None:
        again = read_trace_context(context.traceparent.encode(), context.state.encode())
        assert again == context


@pytest.mark.parametrize(("method", "path"), [("POST", "/predict"), ("GET", "/v2/models/small-table"), ("GET", "/no")])
def test_an_answer_names_the_servers_own_span_of_the_callers_trace(table: LiveServer, method: str, path: str) -> None:
    sent = [("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]
    answer = table.client.request(method, path, json=BODY if method == "POST" else None, headers=sent)
    context = answered(answer.headers)
    assert (context.trace_id, context.flags, context.state) == (TRACE, 1, "a=1,b=2")
    assert context.span_id != SPAN
    # One that sends no id of its own finds its request under its trace's.
    assert answer.headers["x-request-id"] == TRACE


def test_a_caller_without_a_trace_gets_none(table: LiveServer) -> None:
    for sent in ({}, {"traceparent": "nonsense", "tracestate": "a=1"}):
        answer = table.client.post("/predict", json=BODY, headers=sent)
        assert answer.status_code == 200
        assert "traceparent" not in answer.headers
        assert "tracestate" not in answer.headers


def test_a_grpc_call_gets_its_ids_back(table: LiveServer) -> None:
    metadata = (("traceparent", PARENT), ("tracestate", "a=1"), ("x-request-id", "order-66"))
    with grpc.insecure_channel(table.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        _, call = stub.ModelInfer.with_call(typed([1, 2, 3, 4]), metadata=metadata)
        sent_back = dict(call.trailing_metadata())
        context = answered(sent_back)
        assert (context.trace_id, context.state, sent_back["x-request-id"]) == (TRACE, "a=1", "order-66")
        assert context.span_id != SPAN
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(typed([1]), metadata=metadata)
        assert dict(refused.value.trailing_metadata())["x-request-id"] == "order-66"
        _, alone = stub.ModelInfer.with_call(typed([1, 2, 3, 4]))
        assert [name for name, _ in alone.trailing_metadata()] == ["x-request-id"]


def test_the_log_names_trace_and_span_and_neither_payload_nor_key(
    small: dict[str, Artifact], capfd: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    configure_logging("debug", "json")
    (tmp_path / "keys").write_text("s3cret\n")
    headers = {"traceparent": PARENT, "authorization": "Bearer s3cret"}
    payload = {"features": [[1.2345, 2, 3, 4]]}
    with live_server(small["table"], access_log=True, api_keys=tmp_path / "keys") as live:
        answer = live.client.post("/predict?q=hidden", json=payload, headers=headers)
        assert live.client.post("/predict", json={"features": "1.2345"}, headers=headers).status_code == 400
        with grpc.insecure_channel(live.grpc) as channel:
            stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            stub.ModelInfer(typed([1.2345, 2, 3, 4]), metadata=tuple(headers.items()))
    said = capfd.readouterr().err
    lines = [json.loads(line) for line in said.splitlines() if '"event": "request"' in line]
    assert [(line["path"], line["status"]) for line in lines] == [
        ("/predict", 200),
        ("/predict", 400),
        ("/inference.GRPCInferenceService/ModelInfer", 200),
    ]
    assert {line["trace_id"] for line in lines} == {TRACE}
    assert lines[0]["span_id"] == answered(answer.headers).span_id
    assert len({line["span_id"] for line in lines}) == 3
    assert not any(secret in said for secret in ("s3cret", "1.2345", "hidden"))
