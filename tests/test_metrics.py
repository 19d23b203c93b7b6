"""Metrics: the names and labels that dashboards and alerts build on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lading.artifact import Artifact
from lading.metrics import ROWS, SECONDS, Metrics
from tests.serve.small_artifacts import table_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder: Path = tmp_path_factory.mktemp("metrics")
    return table_artifact(folder / "table")


NAMES = {
    "lading_requests_total": {"model", "variant", "protocol", "code"},
    "lading_request_duration_seconds_count": {"model", "variant", "protocol"},
    "lading_request_bytes_total": {"model", "variant", "protocol"},
    "lading_response_bytes_total": {"model", "variant", "protocol"},
    "lading_queue_duration_seconds_count": {"model", "variant"},
    "lading_queue_length": set(),
    "lading_shed_total": {"reason"},
    "lading_decode_duration_seconds_count": {"model", "variant"},
    "lading_inference_duration_seconds_count": {"model", "variant"},
    "lading_batch_size_count": {"model", "variant"},
    "lading_requests_in_flight": set(),
    "lading_ready": {"model", "variant"},
    "lading_usable_cpus": set(),
    "lading_model_info": {"model", "version", "variant", "digest", "precision"},
}


def labels(metrics: Metrics) -> dict[str, set[str]]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def test_every_agreed_name_is_there_with_its_labels(artifact: Artifact) -> None:
    metrics = Metrics()
    metrics.model(artifact, artifact.variant())
    metrics.answered("http", 200, 0.003)
    metrics.shed("deadline")
    found = labels(metrics)
    assert {name: found.get(name) for name in NAMES} == NAMES


def test_the_process_is_watched_too() -> None:
    found = labels(Metrics())
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "python_info"} <= set(found)


def test_no_series_says_when_it_was_created() -> None:
    metrics = Metrics()
    metrics.answered("http", 200, 0.003)
    assert not [name for name in labels(metrics) if name.endswith("_created") and name.startswith("lading")]


def test_two_registries_do_not_meet() -> None:
    one, other = Metrics(), Metrics()
    one.answered("http", 200, 0.003)
    assert "lading_requests_total" in labels(one)
    assert "lading_requests_total" not in labels(other)


def test_buckets_rise_and_are_close_where_small_models_answer() -> None:
    assert list(SECONDS) == sorted(set(SECONDS))
    assert list(ROWS) == sorted(set(ROWS))
    usual = [bound for bound in SECONDS if 0.0002 <= bound <= 0.016]
    assert max(high / low for low, high in pairwise(usual)) <= 2
