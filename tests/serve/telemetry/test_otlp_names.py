"""OpenTelemetry's own names on spans and metrics: semantic conventions of HTTP and RPC."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.semconv._incubating.attributes import rpc_attributes
from opentelemetry.semconv._incubating.metrics import rpc_metrics
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes, url_attributes
from opentelemetry.semconv.metrics import http_metrics

from lading.artifact import Artifact
from lading.errors import SettingsError
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.serve.http.app import App
from lading.serve.telemetry.conventions import SECONDS, http_request, outcome_of, rpc_request
from lading.settings import Settings
from tests.given.grpc_message import typed
from tests.given.live_server import live_server
from tests.given.otlp_collector import OtlpCollector, attributes_of, otlp_collector
from tests.given.traced import BODY, PARENT, TRACE

METHOD = "inference.GRPCInferenceService/ModelInfer"
V2_PATH = "/v2/models/small-table/infer"
V2_BODY = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpCollector]:
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    with otlp_collector() as started:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", started.endpoint)
        yield started


def test_the_names_are_those_of_the_conventions_package() -> None:
    http = http_request("https", "POST", "/predict", "/predict", host=b"example.com:8443", version="1.1")
    assert set(http) | set(outcome_of(http, 500)) == {
        http_attributes.HTTP_REQUEST_METHOD,
        http_attributes.HTTP_ROUTE,
        http_attributes.HTTP_RESPONSE_STATUS_CODE,
        url_attributes.URL_PATH,
        url_attributes.URL_SCHEME,
        server_attributes.SERVER_ADDRESS,
        server_attributes.SERVER_PORT,
        error_attributes.ERROR_TYPE,
        "network.protocol.version",
    }
    call = rpc_request("inference.GRPCInferenceService", "ModelInfer", host="127.0.0.1", port=9000)
    assert set(call) | set(outcome_of(call, 500)) == {
        rpc_attributes.RPC_SYSTEM_NAME,
        rpc_attributes.RPC_SYSTEM,
        rpc_attributes.RPC_SERVICE,
        rpc_attributes.RPC_METHOD,
        rpc_attributes.RPC_RESPONSE_STATUS_CODE,
        rpc_attributes.RPC_GRPC_STATUS_CODE,
        server_attributes.SERVER_ADDRESS,
        server_attributes.SERVER_PORT,
        error_attributes.ERROR_TYPE,
    }


@pytest.mark.parametrize(
    ("status", "name", "number", "error"),
    [
        (200, "OK", 0, None),
        (400, "INVALID_ARGUMENT", 3, None),
        (401, "UNAUTHENTICATED", 16, None),
        (404, "NOT_FOUND", 5, None),
        (429, "RESOURCE_EXHAUSTED", 8, None),
        (499, "CANCELLED", 1, None),
        (500, "INTERNAL", 13, "INTERNAL"),
        (503, "UNAVAILABLE", 14, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED", 4, "DEADLINE_EXCEEDED"),
    ],
)
def test_a_calls_outcome_has_grpcs_code_and_an_error_type_for_the_servers_faults(
    status: int, name: str, number: int, error: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    call = rpc_request("s", "m", host="", port="off")
    expected = {"rpc.response.status_code": name, "rpc.grpc.status_code": number}
    assert outcome_of(call, status) == (expected | {"error.type": error} if error else expected)


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        (b"example.com", "example.com", None),
        (b"example.com:80", "example.com", 80),
        (b"[::1]:8080", "::1", 8080),
        (b"127.0.0.1:1", "127.0.0.1", 1),
        (b"", None, None),
        (b"a b", None, None),
        (b"\xff", None, None),
        (b"a:b:c", None, None),
    ],
)
def test_the_servers_address_is_the_host_header_where_it_is_one(
    host: bytes, address: str | None, port: int | None
) -> None:
    known = http_request("http", "POST", "/predict", "/predict", host=host, version="1.1")
    assert (known.get("server.address"), known.get("server.port")) == (address, port)


def call_span(small: dict[str, Artifact], collector: OtlpCollector) -> dict[str, str | int]:
    with live_server(small["table"], tracing=True) as live, grpc.insecure_channel(live.grpc) as channel:
        GRPCInferenceServiceStub(channel).ModelInfer(typed([1, 2, 3, 4]))  # type: ignore[no-untyped-call]
    (span,) = collector.named(METHOD)
    return attributes_of(span)


@pytest.mark.parametrize(
    ("chosen", "sent"),
    [("", ("ModelInfer", True)), ("http,rpc/dup", (METHOD, True)), ("rpc", (METHOD, False))],
)
def test_a_call_has_the_stable_names_and_the_older_ones_as_opentelemetrys_variable_says(
    small: dict[str, Artifact],
    collector: OtlpCollector,
    monkeypatch: pytest.MonkeyPatch,
    chosen: str,
    sent: tuple[str, bool],
) -> None:
    method, older = sent
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", chosen)
    found = call_span(small, collector)
    stable = {"rpc.system.name": "grpc", "rpc.method": method, "rpc.response.status_code": "OK"}
    assert found.items() >= stable.items()
    assert found["server.address"] == "127.0.0.1"
    old = {"rpc.system": "grpc", "rpc.service": "inference.GRPCInferenceService", "rpc.grpc.status_code": 0}
    assert {name: found.get(name) for name in old} == (old if older else dict.fromkeys(old))


def test_durations_are_sent_under_opentelemetrys_names(small: dict[str, Artifact], collector: OtlpCollector) -> None:
    with live_server(small["table"], otlp_metrics=True) as live, grpc.insecure_channel(live.grpc) as channel:
        live.client.post("/predict", json=BODY, headers={"traceparent": PARENT})
        live.client.post("/predict", json=BODY)
        live.client.post("/predict", json={"features": "no"})
        live.client.post(V2_PATH, json=V2_BODY)
        GRPCInferenceServiceStub(channel).ModelInfer(typed([1, 2, 3, 4]))  # type: ignore[no-untyped-call]
    common = {"http.request.method": "POST", "url.scheme": "http", "network.protocol.version": "1.1"}
    assert counts(collector.points(http_metrics.HTTP_SERVER_REQUEST_DURATION)) == {
        frozenset({**common, "http.route": "/predict", "http.response.status_code": 200}.items()): 2,
        frozenset({**common, "http.route": "/predict", "http.response.status_code": 400}.items()): 1,
        frozenset({**common, "http.route": "/v2/models/{name}/infer", "http.response.status_code": 200}.items()): 1,
    }
    calls = collector.points(rpc_metrics.RPC_SERVER_CALL_DURATION)
    assert counts(calls) == {
        frozenset({"rpc.system.name": "grpc", "rpc.method": METHOD, "rpc.response.status_code": "OK"}.items()): 1
    }
    assert tuple(calls[0].explicit_bounds) == SECONDS
    assert 0 < calls[0].sum < 10
    exemplars = [one for point in collector.points("http.server.request.duration") for one in point.exemplars]
    assert [one.trace_id.hex() for one in exemplars] == [TRACE]


def counts(points: list[Any]) -> dict[frozenset[tuple[str, str | int]], int]:
    return {frozenset(attributes_of(point).items()): point.count for point in points}


def test_spans_and_metrics_go_together(small: dict[str, Artifact], collector: OtlpCollector) -> None:
    with live_server(small["table"], otlp_metrics=True, tracing=True, lanes=1) as live:
        gate = threading.Event()
        live.app.repository.find().service_seconds = 0.0  # so that it is accepted
        live.hold(gate)
        opener = threading.Timer(0.5, gate.set)  # after the deadline
        opener.start()
        assert live.client.post("/predict", json=BODY, headers={"x-request-timeout-ms": "200"}).status_code == 504
        opener.join()
    (span,) = collector.named("POST /predict")
    (point,) = collector.points("http.server.request.duration")
    assert (attributes_of(span)["error.type"], attributes_of(point)["error.type"]) == ("504", "504")
    resource = {one.key for one in collector.metric_requests[0].resource_metrics[0].resource.attributes}
    assert {"service.name", "service.version", "service.instance.id"} <= resource


def test_metrics_over_otlp_without_the_packages_is_one_sentence(
    small: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "lading.serve.telemetry.otlp_metrics", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    with pytest.raises(SettingsError, match=r"LADING_OTLP_METRICS needs the extra otel: pip install 'lading\[otel\]'"):
        App(Settings(otlp_metrics=True), artifacts=[small["table"]])


def test_a_collector_that_is_down_delays_neither_requests_nor_a_stop(
    small: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    with otlp_collector(status=503) as down:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", down.endpoint)
        with live_server(small["table"], otlp_metrics=True) as live:
            assert live.client.post("/predict", json=BODY).status_code == 200
