"""Requests that share a run are answered as each would be alone."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.artifact import Artifact
from lading.predictor import Predictor
from lading.spec import Array, TensorSpec
from lading.tensors.checks import check_inputs
from lading.tensors.ragged import (
    CheckedInputs,
    collate,
    count_rows,
    dim_size,
    group_requests,
    join_requests,
    joinable,
    part_outputs,
    separate,
    split,
)

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


NODES = TensorSpec(name="nodes", dtype="float32", shape=("nodes", 2))
EDGES = TensorSpec(name="edges", dtype="int64", shape=(2, "edges"), indexes="nodes")
OWNER = TensorSpec(name="owner", dtype="int64", shape=("nodes",), owner_of="nodes")
SCALE = TensorSpec(name="scale", dtype="float32", shape=("batch", 3))
SPECS = (SCALE, OWNER, NODES, EDGES)
PER_NODE = TensorSpec(name="per_node", dtype="float32", shape=("nodes", 2))
TOTAL = TensorSpec(name="total", dtype="float32", shape=("batch", 3))


@st.composite
def examples(draw: st.DrawFn) -> dict[str, Array]:
    """A graph with some nodes, edges that may be none, and a row of numbers."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    nodes, edges = draw(st.integers(1, 5)), draw(st.integers(0, 6))
    return {
        "scale": rng.normal(size=3).astype(np.float32),
        "nodes": rng.normal(size=(nodes, 2)).astype(np.float32),
        "edges": rng.integers(0, nodes, size=(2, edges)),
    }


def request(batch: Mapping[str, Array]) -> CheckedInputs:
    return CheckedInputs(batch, check_inputs(SPECS, batch), count_rows(SPECS, batch))


def assert_same(one: Mapping[str, Array], other: Mapping[str, Array]) -> None:
    assert list(one) == list(other)
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name])


@given(st.lists(st.lists(examples(), min_size=1, max_size=3), min_size=1, max_size=4))
def test_joining_requests_gives_what_joining_all_their_examples_gives(groups: list[list[dict[str, Array]]]) -> None:
    requests = [request(collate(SPECS, group)) for group in groups]
    together = join_requests(SPECS, requests)
    assert_same(together, collate(SPECS, [example for group in groups for example in group]))
    assert count_rows(SPECS, together) == sum(one.rows for one in requests)


@given(st.lists(st.lists(examples(), min_size=1, max_size=3), min_size=1, max_size=4))
def test_each_request_gets_back_the_rows_that_it_brought(groups: list[list[dict[str, Array]]]) -> None:
    requests = [request(collate(SPECS, group)) for group in groups]
    together = join_requests(SPECS, requests)
    echoed = {"per_node": together["nodes"], "total": together["scale"]}
    for one, part in zip(requests, part_outputs((PER_NODE, TOTAL), echoed, requests), strict=True):
        assert_same(part, {"per_node": one.arrays["nodes"], "total": one.arrays["scale"]})


@given(st.lists(examples(), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_separating_gives_back_the_examples_whatever_the_order_of_edges(
    given_examples: list[dict[str, Array]], random: Random
) -> None:
    batch = collate(SPECS, given_examples)
    order = list(range(batch["edges"].shape[1]))
    random.shuffle(order)
    batch["edges"] = batch["edges"][:, order]
    check_inputs(SPECS, batch)
    answers = {"per_node": batch["nodes"], "total": batch["scale"]}
    parts = list(separate(SPECS, (PER_NODE, TOTAL), batch, answers))
    assert len(parts) == len(given_examples)
    for example, (inputs, outputs) in zip(given_examples, parts, strict=True):
        ends, wanted = inputs.pop("edges"), example["edges"]
        assert sorted(ends.T.tolist()) == sorted(wanted.T.tolist())
        assert_same(inputs, {"scale": example["scale"], "nodes": example["nodes"]})
        assert_same(outputs, {"per_node": example["nodes"], "total": example["scale"]})


@given(st.lists(examples(), min_size=1, max_size=5))
def test_splitting_outputs_undoes_collate(given_examples: list[dict[str, Array]]) -> None:
    batch = collate(SPECS, given_examples)
    counts = [{"nodes": len(example["nodes"])} for example in given_examples]
    answers = {"per_node": batch["nodes"], "total": batch["scale"]}
    for example, part in zip(given_examples, split((PER_NODE, TOTAL), answers, counts), strict=True):
        assert_same(part, {"per_node": example["nodes"], "total": example["scale"]})


def test_a_ragged_tensor_without_owners_goes_whole_to_each_example() -> None:
    words = TensorSpec(name="words", dtype="int64", shape=("words",))
    batch: dict[str, Array] = {"scale": np.zeros((2, 3), np.float32), "words": np.arange(4)}
    parts = [one for one, _ in separate((SCALE, words), (), batch, {})]
    assert [part["words"].tolist() for part in parts] == [[0, 1, 2, 3]] * 2


def test_the_size_of_a_dim_comes_from_the_first_tensor_that_has_it() -> None:
    arrays: dict[str, Array] = {"scale": np.zeros((2, 3)), "nodes": np.zeros((7, 2)), "edges": np.zeros((2, 4))}
    assert [dim_size(dim, SPECS, arrays) for dim in ("batch", "nodes", "edges", "words")] == [2, 7, 4, 0]
    assert dim_size("nodes", SPECS, arrays | {"nodes": np.zeros(7)}) == 0, "a wrong rank is left to the checks"


def test_a_batch_of_one_example_can_be_written_to() -> None:
    example = {"scale": np.frombuffer(b"0123456789ab", np.float32), "nodes": np.ones((1, 2), np.float32)}
    batch = collate((SCALE, OWNER, NODES), [example])
    batch["scale"][:] = 0
    batch["nodes"][:] = 0
    assert example["scale"].all()
    assert example["nodes"].all()


def test_a_single_request_is_not_copied(small: dict[str, Artifact]) -> None:
    predictor = Predictor(small["table"])
    one = checked(predictor, {"features": np.ones((1, 4), np.float32)})
    assert join_requests(predictor.inputs, [one]) is one.arrays


def test_requests_of_different_lengths_do_not_share_a_run() -> None:
    tokens = TensorSpec(name="tokens", dtype="int64", shape=("batch", "length"))
    arrays = [np.zeros((1, length), np.int64) for length in (3, 5, 3, 3, 5)]
    requests = [CheckedInputs({"tokens": a}, {"batch": 1, "length": a.shape[1]}, 1) for a in arrays]
    assert group_requests([tokens], requests, 2, lambda rows, _: rows) == [[0, 2], [3], [1, 4]]


def test_ragged_models_without_owners_are_never_joined() -> None:
    nodes = TensorSpec(name="nodes", dtype="float32", shape=("nodes", 2))
    owner = TensorSpec(name="owner", dtype="int64", shape=("nodes",), owner_of="nodes")
    kind = TensorSpec(name="kind", dtype="float32", shape=("batch", 2))
    assert joinable([nodes, owner], [kind])
    assert not joinable([nodes], [kind])
