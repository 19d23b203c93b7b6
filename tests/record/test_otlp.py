"""The payload log as OpenTelemetry log records: what a collector gets, and what happens when it refuses."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import pytest

from lading.artifact import Artifact
from lading.errors import SettingsError
from lading.record.batch import Batch
from lading.record.otlp import OtlpLogs
from lading.record.payload_store import sink
from lading.settings.recording import RecordingSettings
from tests.given.live_server import live_server
from tests.given.otlp_collector import attributes_of, otlp_collector
from tests.given.small_artifacts import table_artifact

INFO, ERROR = 9, 17
"""Severity numbers of OpenTelemetry."""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return table_artifact(tmp_path_factory.mktemp("artifact") / "artifact")


def truth(request_id: str) -> dict[str, Any]:
    """A row of feedback."""
    return {"time": round(time.time() * 1e6), "request_id": request_id, "output": "total", "truth": "12.5"}


def test_a_collector_gets_a_log_record_for_each_answer(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20ours")
    with otlp_collector() as collector:
        with live_server(artifact, payload_log=f"otlp+{collector.endpoint}") as live:
            before = time.time_ns()
            live.client.post("/predict", json={"features": [[1, 2, 3, 4]]}, headers={"x-request-id": "one"})
            live.client.post("/predict", json={"features": [["x"]]}, headers={"x-request-id": "two"})
        answered, refused = collector.log_records
        (request,) = collector.log_requests
        (headers,) = collector.headers
    assert json.loads(answered.body.string_value)["input.features"] == [1, 2, 3, 4]
    known = attributes_of(answered)
    assert (known["request_id"], known["model"], known["code"]) == ("one", "small-table", 200)
    assert before - 1_000_000 <= answered.time_unix_nano <= time.time_ns()
    assert attributes_of(refused)["error"]
    assert (answered.severity_number, refused.severity_number) == (INFO, ERROR)
    assert attributes_of(request.resource_logs[0].resource)["service.name"] == "small-table"
    assert headers["authorization"] == "Bearer ours"
    assert headers["content-encoding"] == "gzip"


def test_feedback_is_sent_as_a_log_record() -> None:
    with otlp_collector() as collector:
        OtlpLogs(collector.endpoint).store_truths(Batch.new(), [truth("one")])
        (record,) = collector.log_records
    assert attributes_of(record) == {"request_id": "one", "output": "total", "truth": "12.5"}


def test_many_rows_are_sent_in_several_requests() -> None:
    rows = [{"time": 1, "input.features": np.full(300_000, 0.5, np.float32)} for _ in range(5)]  # 1.2 MB of JSON each
    with otlp_collector() as collector:
        OtlpLogs(collector.endpoint).store_truths(Batch.new(), rows)
    sizes = [len(request.resource_logs[0].scope_logs[0].log_records) for request in collector.log_requests]
    assert sizes == [3, 2]


def test_a_collector_that_refuses_is_an_os_error_with_the_reason() -> None:
    with otlp_collector(status=403) as collector:
        logs = OtlpLogs(collector.endpoint)
        for _ in range(2):
            with pytest.raises(OSError, match=r"/v1/logs did not accept 1 records: .*403"):
                logs.store_truths(Batch.new(), [truth("one")])


@pytest.mark.parametrize("address", ["grpc://collector:4317", "http://", "collector:4318"])
def test_an_address_that_is_not_http_is_one_sentence(address: str) -> None:
    with pytest.raises(SettingsError, match=r"is not an address: write otlp\+http://HOST:4318"):
        OtlpLogs(address)


def test_without_opentelemetry_the_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http._log_exporter", None)
    with pytest.raises(SettingsError, match=r"OTLP needs opentelemetry: pip install 'lading\[otel\]'"):
        sink(RecordingSettings(payload_log="otlp+http://collector:4318"))
