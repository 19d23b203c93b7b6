"""The capacity plan follows from what was measured, and its values file says how."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from lading.artifact import Artifact
from lading.deploy.values import BODIES_MIB, BUSY, BUSY_ONE_AWAY, HEAD_ROOM, plan, values_yaml
from lading.errors import ArtifactError
from tests.given.small_artifacts import colour_artifact, graph_artifact, with_costs


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
    assert one.memory_mib >= HEAD_ROOM * (one.peak_mib + BODIES_MIB)
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


def test_pictures_take_decoding_into_account(measured: Artifact, tmp_path: Path) -> None:
    pictures = with_costs(colour_artifact(tmp_path / "bare"), tmp_path / "pictures", {1: 1.0})
    planned = plan(pictures, rate=1)
    assert planned.overhead_ms > plan(measured, rate=1).overhead_ms
    assert yaml.safe_load(values_yaml(pictures, planned))["settings"]["max_pixels"] == 12_000_000


def test_an_artifact_that_nobody_measured_has_no_plan(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="has no measurements: run `lading verify` first"):
        plan(colour_artifact(tmp_path / "bare"), rate=1)
