"""Arrays are checked against what the model declares, and batches are joined and split without a trace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lading.errors import RequestError
from lading.spec import Array, TensorSpec
from lading.tensors.checks import check_inputs
from lading.tensors.ragged import collate, split

IMAGE = (TensorSpec(name="image", dtype="uint8", shape=("batch", 2, 2, 3), content="image"),)
GRAPH = (
    TensorSpec(name="nodes", dtype="float32", shape=("nodes", 3), minimum=-100, maximum=100),
    TensorSpec(name="edge_index", dtype="int64", shape=(2, "edges"), indexes="nodes"),
    TensorSpec(name="owner", dtype="int64", shape=("nodes",), owner_of="nodes"),
)
PER_NODE = (TensorSpec(name="score", dtype="float32", shape=("nodes", 3)),)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Array]:
    nodes = draw(st.integers(1, 6))
    edges = draw(st.integers(0, 8))
    return {
        "nodes": draw(arrays.arrays(np.float32, (nodes, 3), elements=st.floats(-100, 100, width=32))),
        "edge_index": draw(arrays.arrays(np.int64, (2, edges), elements=st.integers(0, nodes - 1))),
    }


@given(st.lists(graphs(), min_size=1, max_size=5))
def test_a_ragged_batch_keeps_every_edge_inside_its_own_request(requests: list[dict[str, Array]]) -> None:
    batch = collate(GRAPH, requests)
    sizes = check_inputs(GRAPH, batch)
    assert sizes["nodes"] == sum(len(request["nodes"]) for request in requests)
    first_edge = 0
    for number, request in enumerate(requests):
        last_edge = first_edge + request["edge_index"].shape[1]
        ends = batch["edge_index"][:, first_edge:last_edge]
        assert (batch["owner"][ends] == number).all()
        assert np.array_equal(batch["nodes"][ends], request["nodes"][request["edge_index"]])
        first_edge = last_edge


@given(st.lists(graphs(), min_size=1, max_size=5))
def test_splitting_what_was_joined_gives_each_request_its_own_rows(requests: list[dict[str, Array]]) -> None:
    counts = [check_inputs(GRAPH, request, example=True) for request in requests]
    batch = collate(GRAPH, requests)
    parts = split(PER_NODE, {"score": batch["nodes"]}, counts)
    for request, part in zip(requests, parts, strict=True):
        assert np.array_equal(part["score"], request["nodes"])


@given(st.lists(arrays.arrays(np.uint8, (2, 2, 3)), min_size=1, max_size=4))
def test_stacked_requests_come_back_as_they_went_in(images: list[Array]) -> None:
    batch = collate(IMAGE, [{"image": image} for image in images])
    assert batch["image"].shape == (len(images), 2, 2, 3)
    outputs = (TensorSpec(name="echo", dtype="uint8", shape=("batch", 2, 2, 3)),)
    for image, part in zip(images, split(outputs, {"echo": batch["image"]}, [{} for _ in images]), strict=True):
        assert np.array_equal(part["echo"], image)


GOOD: dict[str, Array] = {
    "nodes": np.zeros((3, 3), np.float32),
    "edge_index": np.array([[0, 1], [1, 2]]),
    "owner": np.zeros(3, np.int64),
}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"colour": np.zeros(1)}, "unknown input 'colour'; the inputs are: nodes, edge_index, owner"),
        ({"nodes": np.zeros((3, 3))}, "'nodes' has dtype float64; the model takes float32"),
        ({"nodes": np.zeros((3, 4), np.float32)}, r"shape \[3, 4\]; the model takes \[nodes, 3\]"),
        ({"nodes": np.zeros(3, np.float32)}, r"shape \[3\]; the model takes \[nodes, 3\]"),
        ({"owner": np.zeros(4, np.int64)}, "and 'nodes' is 3 in another input"),
        ({"nodes": np.full((3, 3), np.nan, np.float32)}, "not finite"),
        ({"nodes": np.full((3, 3), 101, np.float32)}, "the largest allowed is 100"),
        ({"nodes": np.full((3, 3), -101, np.float32)}, "the least allowed is -100"),
        ({"edge_index": np.array([[0], [3]])}, "has the index 3; 'nodes' runs from 0 to 2"),
        ({"edge_index": np.array([[-1], [0]])}, "has the index -1"),
        ({"nodes": np.zeros((0, 3), np.float32), "owner": np.zeros(0, np.int64)}, "the dim 'nodes' is empty"),
    ],
)
def test_a_wrong_tensor_is_refused_by_name(changed: dict[str, Array], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        check_inputs(GRAPH, GOOD | changed)


def bounded(nodes: int, edges: int) -> tuple[TensorSpec, ...]:
    most = {"nodes": nodes, "edge_index": edges}
    return tuple(spec.model_copy(update={"max_rows": most.get(spec.name)}) for spec in GRAPH)


def test_an_edge_between_two_examples_is_refused() -> None:
    with pytest.raises(RequestError, match="'edge_index' joins two examples at edges 1: each may point into its own"):
        check_inputs(GRAPH, GOOD | {"owner": np.array([0, 0, 1])})
    check_inputs(GRAPH, GOOD | {"owner": np.array([0, 0, 1]), "edge_index": np.array([[0, 2], [1, 2]])})


@given(st.lists(graphs(), min_size=1, max_size=5))
def test_the_bound_of_a_ragged_dim_holds_for_each_example(requests: list[dict[str, Array]]) -> None:
    most = max(len(request["nodes"]) for request in requests)
    edges = max(1, *(request["edge_index"].shape[1] for request in requests))
    batch = collate(GRAPH, requests)
    check_inputs(bounded(most, edges), batch)
    if most > 1:
        with pytest.raises(RequestError, match=rf"'nodes' has {most} nodes in one example; at most {most - 1} are"):
            check_inputs(bounded(most - 1, edges), batch)
    if edges > 1:
        with pytest.raises(RequestError, match=rf"'edge_index' has {edges} edges in one example; at most {edges - 1}"):
            check_inputs(bounded(most, edges - 1), batch)


def test_a_missing_tensor_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match="input 'nodes' is missing"):
        check_inputs(GRAPH, {})


def test_a_graph_without_edges_is_valid() -> None:
    assert check_inputs(GRAPH, GOOD | {"edge_index": np.zeros((2, 0), np.int64)})["edges"] == 0


def test_a_single_request_carries_neither_batch_dim_nor_owner() -> None:
    assert check_inputs(IMAGE, {"image": np.zeros((2, 2, 3), np.uint8)}, example=True) == {}
    with pytest.raises(RequestError, match="unknown input 'owner'"):
        check_inputs(GRAPH, GOOD, example=True)


@pytest.mark.parametrize("shape", [(1, 0, 5, 3), (1, 5, 0, 3)])
def test_a_picture_is_never_empty(shape: tuple[int, ...]) -> None:
    picture = TensorSpec(name="photo", dtype="uint8", shape=("batch", "height", "width", 3), content="image")
    with pytest.raises(RequestError, match=r"the dim '(height|width)' is empty"):
        check_inputs((picture,), {"photo": np.zeros(shape, np.uint8)})


def test_what_differs_in_number_may_be_empty() -> None:
    boxes = TensorSpec(name="boxes", dtype="float32", shape=("batch", "found", 4))
    assert check_inputs((boxes,), {"boxes": np.zeros((2, 0, 4), np.float32)}) == {"batch": 2, "found": 0}
