"""Graphs that travel hold names that say something, and nothing of the machine that made them."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import helper

from lading.build.export.cleanup import clean, name_nodes, strip_notes

SCOPES = "pkg.torch.onnx.name_scopes"


def model() -> onnx.ModelProto:
    parsed = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 20]>
        g (float[n] x) => (float[n] y) { a = Relu (x) b = Relu (a) c = Neg (b) y = Abs (c) }"""
    )
    scopes = ["['', 'features.0', 'relu_1']", "['', 'features.0', 'relu_2']", "not a list", "['', '_private', 'abs']"]
    for node, scope in zip(parsed.graph.node, scopes, strict=True):
        node.metadata_props.add(key=SCOPES, value=scope)
        node.doc_string = "/home/someone/model.py"
    parsed.doc_string = "/home/someone"
    parsed.metadata_props.add(key="source", value="/home/someone")
    parsed.graph.value_info.append(helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, ["s77"]))
    return parsed


def test_nodes_are_named_for_their_module_and_type() -> None:
    assert [node.name for node in clean(model()).graph.node] == ["features.0/Relu", "features.0/Relu.2", "Neg", "Abs"]


def test_notes_and_traced_symbols_are_dropped() -> None:
    content = clean(model()).SerializeToString()
    assert b"/home/someone" not in content
    assert b"s77" not in content


def test_the_model_given_is_left_as_it_was() -> None:
    given = model()
    before = given.SerializeToString()
    clean(given)
    strip_notes(given)
    assert given.SerializeToString() == before


def test_a_cleaned_graph_is_valid(tmp_path: Path) -> None:
    onnx.checker.check_model(clean(model()), full_check=True)


def test_unnamed_nodes_and_namesakes_are_told_apart() -> None:
    given = model()
    given.graph.node[0].name = given.graph.node[1].name = "twin"
    given.graph.node[2].name = given.graph.node[3].name = ""
    name_nodes(given)
    assert [node.name for node in given.graph.node] == ["twin", "twin.2", "Neg", "Abs"]
