"""The capacity plan follows from what was measured, and its values file says how."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from lading.artifact import Artifact
from lading.deploy.values import BODIES_MB, BUSY, BUSY_ONE_AWAY, HEAD_ROOM, TEST_CPU, TEST_MIB, plan, values_yaml
from lading.errors import ArtifactError
from tests.given.changed_artifacts import with_costs
from tests.given.small_artifacts import colour_artifact, graph_artifact


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("measured")
    return with_costs(graph_artifact(folder / "bare"), folder / "measured", {1: 4.0, 8: 8.0})


def test_a_request_costs_its_share_of_the_batch_that_pays(measured: Artifact) -> None:
    planned = plan(measured, rate=100, overhead_ms=0.0)
    assert (planned.batch, planned.model_ms) == (8, 1.0)
    assert planned.pod_rate == pytest.approx(1000.0)


@pytest.mark.parametrize("rate", [1, 100, 599, 601, 5000, 12345])
def test_there_are_enough_pods_also_with_one_away_and_not_one_too_many(measured: Artifact, rate: float) -> None:
    planned = plan(measured, rate=rate, overhead_ms=0.0)
    pods = planned.pods
    assert rate <= BUSY * planned.pod_rate * pods
    assert rate <= BUSY_ONE_AWAY * planned.pod_rate * (pods - 1)
    assert pods >= 2
    fewer = pods - 1
    too_few = rate > BUSY * planned.pod_rate * fewer or rate > BUSY_ONE_AWAY * planned.pod_rate * (fewer - 1)
    assert pods == 2 or too_few


def test_memory_grows_with_the_lanes_and_holds_the_waiting_bodies(measured: Artifact) -> None:
    one, four = plan(measured, rate=1, cpus=1), plan(measured, rate=1, cpus=4)
    assert four.memory_mib >= one.memory_mib
    assert one.memory_mib % 32 == 0
    assert one.memory_mib >= HEAD_ROOM * (one.peak_mib + one.read_mib + BODIES_MB)
    assert plan(measured, rate=1, bento=False).memory_mib < one.memory_mib


def test_the_values_are_those_of_the_plan_and_the_comments_show_the_sum(measured: Artifact) -> None:
    planned = plan(measured, rate=5000, cpus=2, overhead_ms=0.5)
    text = values_yaml(measured, planned, repository="registry.example/graphs")
    values = yaml.safe_load(text)
    assert values["artifact"]["digest"] == measured.digest
    assert values["replicaCount"] == planned.pods == math.ceil(5000 / (BUSY * 2000 / 1.5))
    assert values["resources"]["limits"] == {"cpu": "2", "memory": f"{planned.memory_mib}Mi"}
    assert values["image"]["repository"] == "registry.example/graphs"
    assert "# One pod of 2 CPU: 2 * 1000 / 1.5 = 1333 requests per second at most." in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("rate", [1, 50, 100])
def test_a_small_release_fits_a_node_of_two_cpus_with_a_rolling_update_and_helm_test(
    tmp_path: Path, rate: float
) -> None:
    pictures = with_costs(colour_artifact(tmp_path / "bare"), tmp_path / "pictures", {1: 4.0})
    planned = plan(pictures, rate=rate)
    assert planned.node_cpus <= 1.9
    assert planned.node_mib <= 4096
    assert (
        f"# The nodes need {planned.node_cpus:g} free CPUs and {planned.node_mib} MiB: 2 pods, one more"
        in values_yaml(pictures, planned)
    )


@pytest.mark.parametrize("rate", [1, 100, 599, 5000])
@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_a_pod_requests_what_it_uses_with_one_away_and_an_autoscaler_acts_before_its_limit(
    measured: Artifact, rate: float, cpus: int
) -> None:
    planned = plan(measured, rate=rate, cpus=cpus)
    assert 0.25 <= planned.cpu_request <= cpus
    used = cpus * rate / ((planned.pods - 1) * planned.pod_rate)
    assert planned.cpu_request >= used - 1e-9
    assert planned.target_percent / 100 * planned.cpu_request == pytest.approx(BUSY * cpus, rel=0.02)


def test_the_pod_of_helm_test_requests_what_the_plan_counts() -> None:
    chart = yaml.safe_load((Path(__file__).parents[2] / "helm/lading/values.yaml").read_text())
    assert chart["test"]["resources"]["requests"] == {"cpu": f"{1000 * TEST_CPU:.0f}m", "memory": f"{TEST_MIB}Mi"}


def test_pictures_take_decoding_into_account(measured: Artifact, tmp_path: Path) -> None:
    pictures = with_costs(colour_artifact(tmp_path / "bare"), tmp_path / "pictures", {1: 1.0})
    planned = plan(pictures, rate=1)
    assert planned.overhead_ms > plan(measured, rate=1).overhead_ms
    assert planned.read_mib == planned.decode_mib + 31
    assert yaml.safe_load(values_yaml(pictures, planned))["settings"]["max_decode_mb"] == 64


def test_the_settings_that_memory_follows_from_are_written(measured: Artifact) -> None:
    settings = yaml.safe_load(values_yaml(measured, plan(measured, rate=1)))["settings"]
    assert settings == {
        "log_format": "json",
        "max_queue_mb": 64,
        "grpc_max_streams": 4,
        "max_connections": 2000,
        "max_body_mb": 16,
        "max_json_values": 600_000,
    }


def test_the_charts_default_fits_a_model_of_pictures(tmp_path: Path) -> None:
    chart = yaml.safe_load((Path(__file__).parents[2] / "helm/lading/values.yaml").read_text())
    pictures = with_costs(colour_artifact(tmp_path / "bare"), tmp_path / "pictures", {1: 1.0})
    assert int(chart["resources"]["limits"]["memory"].removesuffix("Mi")) >= plan(pictures, rate=1).memory_mib
    written = yaml.safe_load(values_yaml(pictures, plan(pictures, rate=1)))["settings"]
    assert {name: written[name] for name in chart["settings"]} == chart["settings"]


def test_an_artifact_that_nobody_measured_has_no_plan(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="has no measurements: run `lading verify` first"):
        plan(colour_artifact(tmp_path / "bare"), rate=1)
