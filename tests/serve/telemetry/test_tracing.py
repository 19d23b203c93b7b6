"""OpenTelemetry spans by OTLP: a collector gets what a request went through, and nothing of what it carried."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from lading.artifact import Artifact
from lading.errors import SettingsError
from lading.log import configure_logging
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.serve.http.app import App
from lading.settings import Settings
from tests.given.grpc_message import typed
from tests.given.live_server import live_server
from tests.given.otlp_collector import OtlpCollector, attributes_of, otlp_collector
from tests.given.traced import BODY, PARENT, SPAN, TRACE, answered

ROOT = Path(__file__).parents[3]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpCollector]:
    with otlp_collector() as started:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", started.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=ours")
        yield started


def test_a_request_is_a_span_with_its_stages_under_its_callers(
    small: dict[str, Artifact], collector: OtlpCollector
) -> None:
    before = time.time_ns()
    with live_server(small["table"], tracing=True) as live:
        answer = live.client.post("/predict", json=BODY, headers={"traceparent": PARENT, "x-request-id": "mine"})
        live.client.get("/readyz")
    assert {span.name for span in collector.spans} == {"POST /predict", "queue", "decode", "inference"}
    (server,) = collector.named("POST /predict")
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, SPAN)
    assert server.span_id.hex() == answered(answer.headers).span_id
    assert server.kind == server.SPAN_KIND_SERVER
    known = attributes_of(server)
    assert known == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "url.path": "/predict",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": int(live.url.rpartition(":")[2]),
        "http.response.status_code": 200,
        "lading.request_id": "mine",
        "lading.model": "small-table",
        "lading.variant": "fp32",
    }
    at = server.start_time_unix_nano
    assert before <= at
    for name in ("queue", "decode", "inference"):
        (stage,) = collector.named(name)
        assert (stage.trace_id.hex(), stage.parent_span_id) == (TRACE, server.span_id)
        assert at <= stage.start_time_unix_nano <= stage.end_time_unix_nano <= server.end_time_unix_nano
        at = stage.start_time_unix_nano
    assert attributes_of(collector.named("inference")[0]) == {"lading.batch_size": 1}
    assert collector.resource()["service.name"] == "lading"
    assert collector.headers[0]["x-tenant"] == "ours"


def test_a_request_that_belongs_to_no_trace_begins_one_and_is_known_by_it(
    small: dict[str, Artifact], collector: OtlpCollector
) -> None:
    path = "/v2/models/small-table/infer"
    content = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    with live_server(small["table"], tracing=True) as live:
        answer = live.client.post(path, json=content)
    (server,) = collector.named("POST /v2/models/{name}/infer")
    assert not server.parent_span_id
    assert server.trace_id.hex() == answer.headers["x-request-id"] == answered(answer.headers).trace_id


def test_what_the_caller_does_not_record_is_not_sent_and_passed_on(
    small: dict[str, Artifact], collector: OtlpCollector
) -> None:
    with live_server(small["table"], tracing=True, trace_ratio=0.0) as live:
        quiet = live.client.post("/predict", json=BODY, headers={"traceparent": PARENT[:-2] + "00"})
        alone = live.client.post("/predict", json=BODY)
        live.client.post("/predict", json=BODY, headers={"traceparent": PARENT})
    context = answered(quiet.headers)
    assert (context.trace_id, context.sampled, answered(alone.headers).sampled) == (TRACE, False, False)
    # The caller that does record decides against the ratio.
    assert [span.parent_span_id.hex() for span in collector.named("POST /predict")] == [SPAN]


def test_a_grpc_call_and_every_message_of_a_stream_is_a_span(
    small: dict[str, Artifact], collector: OtlpCollector
) -> None:
    metadata = (("traceparent", PARENT), ("tracestate", "a=1"))
    with live_server(small["table"], tracing=True) as live, grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        _, call = stub.ModelInfer.with_call(typed([1, 2, 3, 4]), metadata=metadata)
        sent_back = answered(dict(call.trailing_metadata()))
        many = [typed([n, 0, 0, 0], id=str(n)) for n in range(10)]
        assert len(list(stub.ModelStreamInfer(iter(many), metadata=metadata))) == 10
    (alone,) = collector.named("inference.GRPCInferenceService/ModelInfer")
    assert (alone.span_id.hex(), alone.trace_state, sent_back.state) == (sent_back.span_id, "a=1", "a=1")
    assert attributes_of(alone)["rpc.method"] == "ModelInfer"
    streamed = collector.named("inference.GRPCInferenceService/ModelStreamInfer")
    assert len(streamed) == 10
    assert {span.parent_span_id.hex() for span in (alone, *streamed)} == {SPAN}
    assert len(collector.named("inference")) == 11


def test_the_servers_faults_are_marked_and_the_clients_are_not(
    small: dict[str, Artifact], collector: OtlpCollector
) -> None:
    with live_server(small["table"], tracing=True, lanes=1, max_queue=1) as live:
        assert live.client.post("/predict", json={"features": "no"}).status_code == 400
        gate = threading.Event()
        live.app.repository.find().service_seconds = 0.0  # so that it is accepted
        live.hold(gate)
        opener = threading.Timer(0.5, gate.set)  # after the deadline
        opener.start()
        late = {"x-request-timeout-ms": "200"}
        assert live.client.post("/predict", json=BODY, headers=late).status_code == 504
        opener.join()
    refused, expired = collector.named("POST /predict")
    assert (attributes_of(refused)["http.response.status_code"], refused.status.code) == (400, 0)
    assert (attributes_of(expired)["http.response.status_code"], expired.status.code) == (504, 2)
    # It expired in the queue, so nothing of it was read or run.
    assert [span.parent_span_id for span in collector.spans].count(expired.span_id) == 1


def test_spans_hold_neither_payload_nor_key(
    small: dict[str, Artifact], collector: OtlpCollector, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("s3cret\n")
    with live_server(small["table"], tracing=True, api_keys=tmp_path / "keys") as live:
        headers = {"authorization": "Bearer s3cret"}
        live.client.post("/predict?q=hidden", json={"features": [[1.2345, 2, 3, 4]]}, headers=headers)
        live.client.post("/predict", json={"features": "payload"}, headers=headers)
    sent = b"".join(request.SerializeToString() for request in collector.requests)
    assert len(collector.named("POST /predict")) == 2
    assert not any(secret in sent for secret in (b"s3cret", b"hidden", b"1.2345", b"payload"))


def test_a_collector_that_is_down_holds_up_neither_requests_nor_a_stop(
    small: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")
    with otlp_collector(status=503) as down:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", down.endpoint)
        with live_server(small["table"], tracing=True) as live:
            for _ in range(20):
                assert live.client.post("/predict", json=BODY).status_code == 200
    said = capfd.readouterr().err
    assert '"event": "tracing"' in said
    assert all(line.startswith("{") for line in said.splitlines()), said


def test_tracing_without_its_packages_is_one_sentence(
    small: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "lading.serve.telemetry.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"LADING_TRACING needs the extra otel: pip install 'lading\[otel\]'"):
        App(Settings(tracing=True), artifacts=[small["table"]])


def test_nothing_of_opentelemetry_is_loaded_where_tracing_is_off() -> None:
    code = "import lading.serve.ports, lading.serve.grpc.server, sys\n"
    code += "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
