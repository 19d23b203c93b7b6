"""Weights next to a graph: found wherever a tensor may be, and refused unless the manifest lists their checksum."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lading.artifact import Artifact, write_artifact
from lading.artifact.external_data import external_files
from lading.errors import ArtifactError
from lading.predictor import Predictor
from tests.given.small_artifacts import table_artifact

FILE = "weights.bin"


def outside(name: str, location: str = FILE) -> TensorProto:
    """Two floats in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in (("offset", "0"), ("location", location), ("length", "8")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])


def model(
    nodes: list[onnx.NodeProto],
    weights: list[TensorProto] | None = None,
    functions: list[onnx.FunctionProto] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", [value("x")], [value("y")], weights or [])
    return helper.make_model(graph, functions=functions or [])


def add(*names: str) -> onnx.NodeProto:
    return helper.make_node("Add", list(names), ["y"])


def constant(name: str) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=outside(name))


def in_a_branch() -> onnx.ModelProto:
    def branch(name: str) -> onnx.GraphProto:
        return helper.make_graph([constant(name)], name, [], [value(name)])

    return model([helper.make_node("If", ["yes"], ["y"], then_branch=branch("a"), else_branch=branch("b"))])


def in_a_function() -> onnx.ModelProto:
    function = helper.make_function(
        "own", "f", ["x"], ["y"], [constant("c"), add("x", "c")], [helper.make_opsetid("", 20)]
    )
    return model([helper.make_node("f", ["x"], ["y"], domain="own")], functions=[function])


def in_a_sparse_tensor() -> onnx.ModelProto:
    made = model([add("x", "w")])
    sparse = made.graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(outside("w"))
    sparse.indices.CopyFrom(helper.make_tensor("i", TensorProto.INT64, [2], [0, 1]))
    return made


def in_training_info() -> onnx.ModelProto:
    made = model([add("x", "x")])
    made.training_info.add().algorithm.initializer.append(outside("w"))
    return made


def in_a_list_of_tensors() -> onnx.ModelProto:
    made = model([add("x", "x")])
    made.graph.node[0].attribute.append(helper.make_attribute("many", [outside("w")]))
    return made


PLACES: dict[str, Callable[[], onnx.ModelProto]] = {
    "an initializer": lambda: model([add("x", "w")], [outside("w")]),
    "a constant": lambda: model([constant("c"), add("x", "c")]),
    "a branch": in_a_branch,
    "a function": in_a_function,
    "a sparse tensor": in_a_sparse_tensor,
    "training info": in_training_info,
    "a list of tensors": in_a_list_of_tensors,
}


@pytest.mark.parametrize("place", PLACES)
def test_weights_in_another_file_are_found_wherever_they_are_named(place: str, tmp_path: Path) -> None:
    graph = tmp_path / "graph.onnx"
    graph.write_bytes(PLACES[place]().SerializeToString())
    assert external_files(graph) == {FILE}


def test_a_graph_that_only_speaks_of_a_location_has_none(tmp_path: Path) -> None:
    inside = helper.make_tensor("location", TensorProto.FLOAT, [2], [1, 2])
    made = model([add("x", "location")], [inside])
    made.doc_string = "location"
    (tmp_path / "graph.onnx").write_bytes(made.SerializeToString())
    assert external_files(tmp_path / "graph.onnx") == set()


@settings(max_examples=200)
@given(junk=st.binary(max_size=40), cut=st.integers(0, 200))
def test_any_bytes_are_a_graph_or_a_sentence(junk: bytes, cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    graph = tmp_path_factory.getbasetemp() / "any.onnx"
    whole = PLACES["a constant"]().SerializeToString()
    graph.write_bytes(whole[:cut] + junk + b"location")
    with suppress(ArtifactError):
        external_files(graph)


def packed(path: Path, location: str, files: dict[str, bytes]) -> Artifact:
    """The table model with a weight in another file, in an artifact that lists ``files``."""
    original = table_artifact(path.with_name("original"))
    made = onnx.load(original.onnx_file())
    made.graph.node.append(helper.make_node("Identity", ["w"], ["unused"]))
    made.graph.initializer.append(outside("w", location))
    listed: dict[str, bytes | Path] = {name: original.path / name for name in original.manifest.files}
    listed.update(files)
    return write_artifact(path, original.manifest, listed | {"variants/fp32.onnx": made.SerializeToString()})


WEIGHTS = np.ones(2, np.float32).tobytes()


def test_weights_that_the_manifest_lists_are_served(tmp_path: Path) -> None:
    artifact = packed(tmp_path / "packed", FILE, {f"variants/{FILE}": WEIGHTS})
    Predictor(artifact).check_golden()
    (artifact.path / "variants" / FILE).write_bytes(bytes(8))
    with pytest.raises(ArtifactError, match=r"weights\.bin does not match its checksum"):
        Artifact.load(artifact.path)


@pytest.mark.parametrize(
    ("location", "files", "reason"),
    [
        (FILE, {}, "lists no checksum for it"),
        (f"./{FILE}", {}, "lists no checksum for it"),
        ("", {}, "lists no checksum for it"),
        ("../golden/inputs.npz", {}, "outside its folder"),
        ("sub/../../weights.bin", {"weights.bin": WEIGHTS}, "outside its folder"),
        ("/etc/passwd", {}, "outside its folder"),
        ("x" * 5000, {}, "lists no checksum for it"),
    ],
    ids=["not listed", "with a dot", "empty", "a listed file above", "above by a detour", "absolute", "a long name"],
)
def test_other_weights_are_refused(location: str, files: dict[str, bytes], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=reason) as refused:
        packed(tmp_path / "packed", location, files)
    assert len(str(refused.value)) < 500 + len(str(tmp_path)) * 2


def test_a_link_out_of_the_artifact_is_refused(tmp_path: Path) -> None:
    artifact = packed(tmp_path / "packed", FILE, {f"variants/{FILE}": WEIGHTS})
    weights = artifact.path / "variants" / FILE
    shutil.move(weights, tmp_path / FILE)
    weights.symlink_to(tmp_path / FILE)
    with pytest.raises(ArtifactError, match="which is outside the artifact"):
        Artifact.load(artifact.path)


@pytest.mark.parametrize("name", ["golden/inputs.npz", "golden/fp32.npz", "reference.json", "variants/fp32.onnx"])
def test_a_file_that_a_server_opens_must_be_listed(name: str, tmp_path: Path) -> None:
    original = table_artifact(tmp_path / "original")
    files: dict[str, bytes | Path] = {one: original.path / one for one in original.manifest.files if one != name}
    with pytest.raises(ArtifactError, match=f"lists no checksum for {name}"):
        write_artifact(tmp_path / "packed", original.manifest, files)
