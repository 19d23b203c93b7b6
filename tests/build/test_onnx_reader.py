"""What of an ONNX file from elsewhere cannot be served is said, with a way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from lading.build.onnx_reader import read_bare
from lading.errors import WrapError
from lading.spec import TensorSpec
from tests.given.onnx_text import parse, save


def sequence_output() -> onnx.ModelProto:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["N", 4]))
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_value_info("y", kind)],
    )
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 15)])


def map_input() -> onnx.ModelProto:
    """What a DictVectorizer is converted to."""
    vectorized = helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", string_vocabulary=["a", "b"])
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    kind = helper.make_map_type_proto(TensorProto.STRING, value)
    graph = helper.make_graph(
        [vectorized],
        "g",
        [helper.make_value_info("x", kind)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(
        graph, ir_version=9, opset_imports=[helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    )


def shapeless() -> onnx.ModelProto:
    model = parse("y = Relu (x)")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    return model


UNUSABLE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "unknown operator": (lambda: parse("y = Fancy (x)"), "Fancy.*opset_version=20"),
    "unknown domain": (lambda: parse("y = my.ops.Fancy (x)", domain="my.ops"), "Its opsets are ai.onnx 20, my.ops 1"),
    "sequence output": (sequence_output, "output 'y' .* with ConcatFromSequence"),
    "map input": (map_input, "input 'x' .* give its values as one tensor"),
    "half floats of another kind": (
        lambda: parse("y = Identity (x)", "bfloat16[N, 3] x", "bfloat16[N, 3] y"),
        "export it as float32 or an integer|cannot be served",
    ),
    "an input without a shape": (shapeless, "input 'x' .* has no shape, so its number of dims is unknown"),
}


@pytest.mark.parametrize(("model", "problem"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_what_cannot_be_served_is_refused_with_a_way_out(
    model: Callable[[], onnx.ModelProto], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(WrapError) as caught:
        read_bare(save(model(), tmp_path / "odd.onnx"))
    assert re.search(problem, str(caught.value), re.DOTALL), str(caught.value)
    assert "odd.onnx" in str(caught.value)


def test_files_that_are_not_onnx_are_refused(tmp_path: Path) -> None:
    (tmp_path / "torch.onnx").write_bytes(b"PK\x03\x04 not a graph")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name, problem in (
        ("torch", "is not an ONNX file"),
        ("empty", "is not an ONNX file"),
        ("no", "there is no file"),
    ):
        with pytest.raises(WrapError, match=problem):
            read_bare(tmp_path / f"{name}.onnx")


def test_a_zipmap_at_the_end_becomes_its_tensor_with_the_classes_as_labels(tmp_path: Path) -> None:
    zipped = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2, 3])
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, value))
    graph = helper.make_graph(
        [zipped],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_value_info("y", kind)],
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    bare = read_bare(save(helper.make_model(graph, ir_version=9, opset_imports=opsets), tmp_path / "zipped.onnx"))
    assert bare.outputs == (TensorSpec(name="y", dtype="float32", shape=("batch", 4), labels=("0", "1", "2", "3")),)
    assert bare.one_by_one is None
