"""A request may have none of what differs in number: a graph without edges, a picture without boxes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from lading.artifact import Artifact
from lading.spec import Array, TensorSpec
from tests.given.live_server import LiveServer, live_server
from tests.given.packed_graph import answers_of_all_ports
from tests.given.small_artifacts import write_small

Inputs = Mapping[str, Array]


def bonds_artifact(path: Path) -> Artifact:
    """Ragged nodes and edges, each with features, to a sum a graph, and a row an edge."""
    inputs = (
        TensorSpec(name="nodes", dtype="float32", shape=("nodes", 2)),
        TensorSpec(name="edges", dtype="int64", shape=(2, "edges"), indexes="nodes"),
        TensorSpec(name="bonds", dtype="float32", shape=("edges", 2)),
        TensorSpec(name="owner", dtype="int64", shape=("nodes",), owner_of="nodes"),
    )
    outputs = (
        TensorSpec(name="sum", dtype="float32", shape=("batch", 2)),
        TensorSpec(name="each", dtype="float32", shape=("edges", 2)),
    )
    nodes = [
        helper.make_node("Gather", ["edges", "one"], ["targets"], axis=0),
        helper.make_node("Unsqueeze", ["targets", "axis1"], ["column"]),
        helper.make_node("Expand", ["column", "pair"], ["places"]),
        helper.make_node("ScatterElements", ["nodes", "places", "bonds"], ["mixed"], axis=0, reduction="add"),
        helper.make_node("ReduceMax", ["owner"], ["last"], keepdims=0),
        helper.make_node("Add", ["last", "one"], ["graphs"]),
        helper.make_node("Range", ["zero", "graphs", "one"], ["index"]),
        helper.make_node("Unsqueeze", ["index", "axis1"], ["wanted"]),
        helper.make_node("Equal", ["wanted", "owner"], ["member"]),
        helper.make_node("Cast", ["member"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["weights", "mixed"], ["sum"]),
        helper.make_node("Add", ["bonds", "bonds"], ["each"]),
    ]
    constants = [
        helper.make_tensor("zero", TensorProto.INT64, [], [0]),
        helper.make_tensor("one", TensorProto.INT64, [], [1]),
        helper.make_tensor("axis1", TensorProto.INT64, [1], [1]),
        helper.make_tensor("pair", TensorProto.INT64, [2], [1, 2]),
    ]
    return write_small(
        path,
        "small-bonds",
        inputs=inputs,
        outputs=outputs,
        nodes=nodes,
        constants=constants,
        examples=[dict(molecule(3, 2)), dict(molecule(4, 3))],
    )


def boxes_artifact(path: Path, *, first: bool = False) -> Artifact:
    """A list of boxes (batch, boxes, 4) to the sum of them, or to the first of them (batch, 4)."""
    total = helper.make_node("ReduceSum", ["boxes", "axis"], ["all"], keepdims=0)
    index = helper.make_tensor("axis", TensorProto.INT64, [] if first else [1], [0 if first else 1])
    inputs = (TensorSpec(name="boxes", dtype="float32", shape=("batch", "boxes", 4)),)
    return write_small(
        path,
        "small-boxes",
        inputs=inputs,
        outputs=(TensorSpec(name="all", dtype="float32", shape=("batch", 4)),),
        nodes=[helper.make_node("Gather", ["boxes", "axis"], ["all"], axis=1) if first else total],
        constants=[index],
        examples=[{"boxes": np.full((2, 4), number, np.float32)} for number in (1, 2)],
    )


def molecule(atoms: int, edges: int) -> Inputs:
    rng = np.random.default_rng(10 * atoms + edges)
    return {
        "nodes": rng.normal(size=(atoms, 2)).astype(np.float32),
        "edges": rng.integers(0, atoms, (2, edges)),
        "bonds": rng.normal(size=(edges, 2)).astype(np.float32),
    }


def expected(given: Inputs) -> Inputs:
    return {"sum": given["nodes"].sum(0) + given["bonds"].sum(0), "each": 2 * given["bonds"]}


@pytest.fixture(scope="module")
def bonds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(bonds_artifact(tmp_path_factory.mktemp("bonds"))) as live:
        yield live


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(boxes_artifact(tmp_path_factory.mktemp("boxes"))) as live:
        yield live


def test_a_graph_without_edges_is_answered_on_every_port(bonds: LiveServer) -> None:
    given = molecule(1, 0)
    with_owner = {**given, "owner": np.zeros(1, np.int64)}
    for port, answered in answers_of_all_ports(bonds, with_owner).items():
        np.testing.assert_allclose(answered["sum"][0], expected(given)["sum"], rtol=1e-5, err_msg=port)
        assert answered["each"].size == 0, port


def test_in_one_run_with_others_it_is_answered_as_alone(bonds: LiveServer) -> None:
    parts = [molecule(2, 0), molecule(3, 4), molecule(1, 0), molecule(4, 5)]
    firsts = np.cumsum([0, *(len(part["nodes"]) for part in parts[:-1])])
    joined = {
        "nodes": np.concatenate([part["nodes"] for part in parts]),
        "edges": np.concatenate([part["edges"] + first for part, first in zip(parts, firsts, strict=True)], axis=1),
        "bonds": np.concatenate([part["bonds"] for part in parts]),
        "owner": np.repeat(np.arange(4), [len(part["nodes"]) for part in parts]),
    }
    for port, answered in answers_of_all_ports(bonds, joined).items():
        wanted = [expected(part)["sum"] for part in parts]
        np.testing.assert_allclose(answered["sum"], wanted, rtol=1e-5, atol=1e-6, err_msg=port)
        np.testing.assert_allclose(answered["each"], 2 * joined["bonds"], rtol=1e-5, err_msg=port)


def test_many_at_once_are_answered_as_each_alone(bonds: LiveServer) -> None:
    parts = [molecule(1 + number % 4, (0, 3, 0, 5)[number % 4]) for number in range(40)]

    def ask(part: Inputs) -> dict[str, list[list[float]]]:
        body = json.dumps({name: array.tolist() for name, array in part.items()})
        answer = bonds.client.post("/predict", content=body, headers={"content-type": "application/json"})
        outputs: dict[str, list[list[float]]] = answer.json()["outputs"]
        return outputs

    with ThreadPoolExecutor(16) as pool:
        for part, outputs in zip(parts, pool.map(ask, parts), strict=True):
            np.testing.assert_allclose(outputs["sum"][0], expected(part)["sum"], rtol=1e-4, atol=1e-5)
            assert len(outputs["each"]) == len(part["bonds"])


def test_an_empty_list_of_boxes_is_answered_on_every_port(boxes: LiveServer) -> None:
    for rows in (1, 3):
        for port, answered in answers_of_all_ports(boxes, {"boxes": np.zeros((rows, 0, 4), np.float32)}).items():
            np.testing.assert_array_equal(answered["all"], np.zeros((rows, 4)), err_msg=port)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"boxes": []}, "input 'boxes' has shape [0, 0, 4]: the dim 'batch' is empty"),
        ({"boxes": [[[], []]]}, "input 'boxes' has shape [1, 2, 0]; the model takes [batch, boxes, 4]"),
    ],
)
def test_what_must_not_be_empty_is_refused(boxes: LiveServer, body: dict[str, object], sentence: str) -> None:
    answer = boxes.client.post("/predict", json=body)
    assert answer.status_code == 400
    assert sentence in answer.text


def test_a_graph_without_nodes_is_refused(bonds: LiveServer) -> None:
    answer = bonds.client.post("/predict", json={"nodes": [], "edges": [[], []], "bonds": []})
    assert answer.status_code == 400
    assert "input 'nodes' has shape [0, 2]: the dim 'nodes' is empty" in answer.text


def test_a_model_that_cannot_answer_says_so(tmp_path: Path) -> None:
    with live_server(boxes_artifact(tmp_path / "a", first=True)) as live:
        answer = live.client.post("/predict", json={"boxes": [[]]})
        assert answer.status_code == 422
        assert "the model has no answer where 'boxes' is empty: send at least one" in answer.text
        assert live.client.post("/predict", json={"boxes": [[[1, 2, 3, 4]]]}).status_code == 200


def test_the_docs_say_what_may_be_empty(bonds: LiveServer) -> None:
    schema = bonds.client.get("/docs.json").json()["components"]["schemas"]["Inputs"]["properties"]
    least = {name: schema[name]["minItems"] for name in ("nodes", "bonds")}
    assert least == {"nodes": 1, "bonds": 0}
