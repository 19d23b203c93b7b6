"""What is read from a manifest: the cost of a batch, the largest body."""

from __future__ import annotations

import json
import math

import pytest

from lading.artifact import Artifact
from lading.artifact.manifest import CostTable, Manifest, ModelInfo
from lading.spec import TensorSpec


@pytest.mark.parametrize(
    ("cost", "best"),
    [
        ({}, 1),
        ({1: 20.0, 2: 40.0, 8: 160.0}, 1),
        ({1: 20.0, 2: 39.0, 8: 155.0}, 1),  # 3 % are not worth a wait
        ({1: 2.0, 2: 4.0, 8: 16.0}, 2),  # what surrounds a run is shared
        ({1: 1.0, 2: 1.1, 8: 1.6, 32: 6.9}, 8),
        ({1: 0.05, 8: 0.06, 64: 0.1}, 64),
    ],
)
def test_a_batch_is_as_large_as_it_pays(cost: dict[int, float], best: int) -> None:
    assert CostTable(cost).best_batch == best


def test_the_cost_of_sizes_that_were_not_measured_lies_between() -> None:
    table = CostTable({1: 1.0, 4: 2.0, 8: 4.0})
    assert [table.seconds(rows) for rows in (1, 2, 4, 6, 8, 16)] == pytest.approx(
        [0.001, 0.004 / 3, 0.002, 0.003, 0.004, 0.008]
    )


def test_the_cost_of_a_model_without_measurements_is_a_guess_that_grows() -> None:
    assert 0 < CostTable({}).seconds(1) < CostTable({}).seconds(2)


@pytest.mark.parametrize(
    ("shapes", "content", "max_rows", "numbers"),
    [
        ([("batch", 4)], None, None, 8 * 4),
        ([("batch", 4, 5), ("batch",)], None, None, 8 * 20 + 8),
        ([("nodes", 3)], None, 10, 8 * 10 * 3),
        ([("nodes", 3)], None, None, math.inf),
        ([("batch", "words")], None, None, math.inf),
        ([("batch", 4, 4, 3)], "image", None, math.inf),
    ],
)
def test_the_largest_body_holds_the_largest_batch_of_numbers(
    shapes: list[tuple[str | int, ...]], content: str | None, max_rows: int | None, numbers: float
) -> None:
    inputs = tuple(
        TensorSpec(name=f"x{place}", dtype="uint8", shape=shape, content=content, max_rows=max_rows)
        for place, shape in enumerate(shapes)
    )
    largest = ModelInfo("m", "1", "fp32", "", inputs, (), 8).largest_body
    assert largest == 256_000 + 64 * numbers


def test_a_ragged_dim_is_limited_by_the_tensor_that_has_its_limit() -> None:
    nodes = TensorSpec(name="nodes", dtype="float32", shape=("nodes", 2), max_rows=5)
    owner = TensorSpec(name="owner", dtype="int64", shape=("nodes",), owner_of="nodes")
    assert ModelInfo("m", "1", "fp32", "", (nodes, owner), (), 4).largest_body == 256_000 + 64 * (4 * 5 * 2 + 4 * 5)


def test_a_manifest_of_before_exporters_were_recorded_is_read(tiny_artifact: Artifact) -> None:
    content = json.loads(tiny_artifact.manifest.model_dump_json())
    for packed in content["variants"]:
        del packed["exporter"]
    assert {packed.exporter for packed in Manifest.model_validate(content).variants} == {""}
