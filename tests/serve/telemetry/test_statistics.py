"""Triton's statistics, over REST and gRPC, add up to what clients were answered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from lading.artifact import Artifact
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.given.changed_artifacts import with_costs
from tests.given.grpc_message import typed
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.small_artifacts import slow_artifact

STATS = "/v2/models/small-table/stats"


@pytest.fixture
def fresh(small: dict[str, Artifact], tmp_path: Path) -> Iterator[LiveServer]:
    with live_server(small["table"], slow_artifact(tmp_path), max_batch=8) as live:
        yield live


def stats(live: LiveServer, path: str = STATS) -> dict[str, Any]:
    answer = live.client.get(path)
    assert answer.status_code == 200
    (entry,) = answer.json()["model_stats"]
    return dict(entry)


def predict(live: LiveServer, rows: int = 1, model: str = "small-table") -> int:
    return live.client.post(f"/predict?model={model}", json={"features": [[1, 2, 3, 4]] * rows}).status_code


def test_statistics_count_requests_examples_runs_and_failures(fresh: LiveServer) -> None:
    before = stats(fresh)
    assert (before["inference_count"], before["execution_count"], before["last_inference"]) == (0, 0, 0)
    assert {one["count"] for one in before["inference_stats"].values()} == {0}
    begin = time.time()
    assert [predict(fresh) for _ in range(3)] == [200, 200, 200]
    assert predict(fresh, rows=5) == 200
    assert fresh.client.post("/predict", json={"features": [[1]]}).status_code == 400
    assert fresh.client.post("/v2/models/small-table/infer", content=b"{").status_code == 400
    assert fresh.client.post("/v2/models/nothing/infer", content=b"{}").status_code == 404
    with grpc.insecure_channel(fresh.grpc) as channel:
        GRPCInferenceServiceStub(channel).ModelInfer(typed([1, 2, 3, 4]))  # type: ignore[no-untyped-call]
    wait_until(lambda: stats(fresh)["inference_stats"]["success"]["count"] == 5)
    after = stats(fresh)
    assert (after["name"], after["version"]) == ("small-table", "1")
    assert (after["inference_count"], after["execution_count"]) == (9, 5)
    assert after["inference_stats"]["fail"]["count"] == 2
    assert begin * 1e3 - 1 <= after["last_inference"] <= time.time() * 1e3
    parts = {name: one["ns"] for name, one in after["inference_stats"].items() if one["count"]}
    assert set(parts) == {"success", "fail", "queue", "compute_input", "compute_infer"}
    assert all(ns > 0 for ns in parts.values())
    # A failed request may have been queued and decoded too, so its time belongs to the sum.
    assert parts["compute_infer"] + parts["compute_input"] <= parts["success"] + parts["fail"]


def test_grpc_and_rest_say_the_same(fresh: LiveServer) -> None:
    predict(fresh)
    predict(fresh, model="small-slow")
    wait_until(lambda: stats(fresh, "/v2/models/small-slow/stats")["execution_count"] == 1)
    with grpc.insecure_channel(fresh.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        every = stub.ModelStatistics(pb.ModelStatisticsRequest())
        alone = stub.ModelStatistics(pb.ModelStatisticsRequest(name="small-slow", version="1"))
    assert [one.name for one in every.model_stats] == ["small-slow", "small-table"]
    assert list(alone.model_stats) == [every.model_stats[0]]
    listed = fresh.client.get("/v2/models/stats").json()["model_stats"]
    options = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    for over_rest, over_grpc in zip(listed, every.model_stats, strict=True):
        written = MessageToDict(over_grpc, **options)
        assert written == _as_text(over_rest)


def _as_text(value: Any) -> Any:
    """Integers of 64 bits are strings in protobuf's JSON."""
    if isinstance(value, dict):
        return {name: _as_text(entry) for name, entry in value.items()}
    return str(value) if isinstance(value, int) else value


def test_an_unknown_model_or_version_is_not_found(fresh: LiveServer) -> None:
    for path in ("/v2/models/nothing/stats", "/v2/models/small-table/versions/9/stats"):
        assert fresh.client.get(path).status_code == 404
    assert stats(fresh, "/v2/models/small-table/versions/1/stats") == stats(fresh)
    with grpc.insecure_channel(fresh.grpc) as channel, pytest.raises(grpc.RpcError) as error:
        GRPCInferenceServiceStub(channel).ModelStatistics(pb.ModelStatisticsRequest(name="nothing"))  # type: ignore[no-untyped-call]
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_versions_are_counted_together(small: dict[str, Artifact], tmp_path: Path) -> None:
    second = with_costs(small["table"], tmp_path / "second", {1: 1.0}, version="2")
    with live_server(small["table"], second) as live:
        assert live.client.post("/predict?version=1", json={"features": [[1, 2, 3, 4]]}).status_code == 200
        assert predict(live) == 200
        wait_until(lambda: stats(live)["execution_count"] == 2)
        assert stats(live)["version"] == ""
        refused = live.client.get("/v2/models/small-table/versions/2/stats")
        assert refused.status_code == 501
        assert "without a version" in refused.json()["error"]
