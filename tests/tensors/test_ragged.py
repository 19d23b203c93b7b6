"""Requests that share a run are answered as each would be alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.artifact import Artifact
from lading.manifest import CostTable
from lading.predictor import Predictor
from lading.spec import Array, TensorSpec
from lading.tensors.checks import check_inputs
from lading.tensors.ragged import CheckedInputs, count_rows, join_requests, joinable, part_outputs, same_shapes

SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=3)
SHARED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def checked(predictor: Predictor, arrays: dict[str, Array]) -> CheckedInputs:
    return CheckedInputs(arrays, check_inputs(predictor.inputs, arrays), count_rows(predictor.inputs, arrays))


def graphs(rng: np.random.Generator, sizes: list[int]) -> dict[str, Array]:
    """One request with as many graphs as sizes, each a ring of so many nodes."""
    starts = np.cumsum([0, *sizes[:-1]])
    rings = [np.stack([np.arange(n), np.roll(np.arange(n), 1)]) + s for n, s in zip(sizes, starts, strict=True)]
    return {
        "nodes": rng.normal(size=(sum(sizes), 2)).astype(np.float32),
        "edges": np.concatenate(rings, axis=1).astype(np.int64),
        "owner": np.repeat(np.arange(len(sizes), dtype=np.int64), sizes),
    }


@SHARED
@given(
    requests=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3), min_size=1, max_size=6), seed=st.integers(0)
)
def test_ragged_requests_share_a_run(small: dict[str, Artifact], requests: list[list[int]], seed: int) -> None:
    predictor = Predictor(small["graph"])
    rng = np.random.default_rng(seed)
    inputs = [checked(predictor, graphs(rng, sizes)) for sizes in requests]
    together = part_outputs(predictor.outputs, predictor.run(join_requests(predictor.inputs, inputs)), inputs)
    for sizes, one, shared in zip(requests, inputs, together, strict=True):
        assert shared["kind"].shape == (len(sizes), 2)
        np.testing.assert_allclose(shared["kind"], predictor(one.arrays)["kind"], atol=1e-6)


@SHARED
@given(rows=st.lists(st.integers(1, 4), min_size=1, max_size=6), seed=st.integers(0))
def test_stacked_requests_share_a_run(small: dict[str, Artifact], rows: list[int], seed: int) -> None:
    predictor = Predictor(small["table"])
    rng = np.random.default_rng(seed)
    inputs = [checked(predictor, {"features": rng.normal(size=(n, 4)).astype(np.float32)}) for n in rows]
    together = part_outputs(predictor.outputs, predictor.run(join_requests(predictor.inputs, inputs)), inputs)
    for one, shared in zip(inputs, together, strict=True):
        np.testing.assert_allclose(shared["total"], predictor(one.arrays)["total"], atol=1e-6)


def test_a_single_request_is_not_copied(small: dict[str, Artifact]) -> None:
    predictor = Predictor(small["table"])
    one = checked(predictor, {"features": np.ones((1, 4), np.float32)})
    assert join_requests(predictor.inputs, [one]) is one.arrays


def test_requests_of_different_lengths_do_not_share_a_run() -> None:
    tokens = TensorSpec(name="tokens", dtype="int64", shape=("batch", "length"))
    short, long = (np.zeros((1, length), np.int64) for length in (3, 5))
    one, other = (CheckedInputs({"tokens": a}, {"batch": 1, "length": a.shape[1]}, 1) for a in (short, long))
    assert same_shapes([tokens], one, one)
    assert not same_shapes([tokens], one, other)


def test_ragged_models_without_owners_are_never_joined() -> None:
    nodes = TensorSpec(name="nodes", dtype="float32", shape=("nodes", 2))
    owner = TensorSpec(name="owner", dtype="int64", shape=("nodes",), owner_of="nodes")
    kind = TensorSpec(name="kind", dtype="float32", shape=("batch", 2))
    assert joinable([nodes, owner], [kind])
    assert not joinable([nodes], [kind])


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


def test_the_cost_of_a_model_nobody_measured_is_a_guess_that_grows() -> None:
    assert 0 < CostTable({}).seconds(1) < CostTable({}).seconds(2)
