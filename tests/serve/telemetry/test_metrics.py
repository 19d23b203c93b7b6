"""Metrics: the names and labels that dashboards and alerts build on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lading.artifact import Artifact
from lading.errors import InputShapeError, RequestError
from lading.serve.telemetry.exposition import exposition
from lading.serve.telemetry.metrics import VIOLATIONS, Metrics
from lading.serve.telemetry.model_metrics import ModelMetrics
from lading.serve.telemetry.request_series import ROWS, SECONDS
from tests.given.changed_artifacts import with_costs
from tests.given.metric_names import NAMES
from tests.given.small_artifacts import table_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder: Path = tmp_path_factory.mktemp("metrics")
    return table_artifact(folder / "table")


def labels(metrics: Metrics) -> dict[str, set[str]]:
    families = text_string_to_metric_families(exposition(metrics).body.decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def test_every_agreed_name_is_there_with_its_labels(artifact: Artifact) -> None:
    metrics = Metrics()
    ModelMetrics(metrics, artifact, artifact.variant()).show()
    metrics.show_ready({("small-table", "fp32"): True})
    metrics.answered("http", 200, 0.003)
    metrics.shed("deadline")
    found = labels(metrics)
    assert {name: found.get(name) for name in NAMES} == NAMES


def test_errors_are_counted_from_zero_so_that_the_first_is_an_increase(artifact: Artifact) -> None:
    metrics = Metrics()
    ModelMetrics(metrics, artifact, artifact.variant())
    where = {"model": "small-table", "variant": "fp32", "protocol": "grpc", "code": "500"}
    assert metrics.registry.get_sample_value("lading_requests_total", where) == 0


def test_every_kind_of_refused_input_has_its_counter(artifact: Artifact) -> None:
    def kinds(error: type[RequestError]) -> set[str]:
        return {error.kind}.union(*(kinds(below) for below in error.__subclasses__()))

    assert kinds(RequestError) == set(VIOLATIONS)
    metrics = Metrics()
    of_model = ModelMetrics(metrics, artifact, artifact.variant())
    of_model.violation(InputShapeError("input 'x' has shape [1]"))
    of_model.violation(ValueError("no fault of the caller"))
    counted = {
        kind: metrics.registry.get_sample_value(
            "lading_schema_violations_total", {"model": "small-table", "variant": "fp32", "kind": kind}
        )
        for kind in VIOLATIONS
    }
    assert counted == dict.fromkeys(VIOLATIONS, 0) | {"shape": 1}


def test_what_verify_measured_is_shown_beside_what_is_seen(artifact: Artifact, tmp_path: Path) -> None:
    metrics = Metrics()
    measured = with_costs(artifact, tmp_path / "measured", {1: 2.0, 8: 12.0})
    ModelMetrics(metrics, measured, measured.variant()).show()
    labels = {"model": "small-table", "variant": "fp32", "batch": "8"}
    assert metrics.registry.get_sample_value("lading_measured_inference_seconds", labels) == 0.012


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
