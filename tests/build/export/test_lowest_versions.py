"""A graph is stamped with the lowest opset and IR that suffice, and answers as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, checker, helper, numpy_helper

from lading.artifact.graph_versions import graph_versions
from lading.build.export.lowest_versions import LOWEST, lower_versions, with_lowest_versions
from lading.build.onnx_file import pack_onnx
from lading.errors import WrapError
from lading.predictor import open_session


def graph(*operators: str, opset: int, ir: int = 10, domain: str = "") -> onnx.ModelProto:
    """Operators of one input and one output, one behind the other."""
    names = ["x", *(f"v{number}" for number in range(1, len(operators))), "y"]
    nodes = [
        helper.make_node(operator, [before], [after], domain=domain)
        for operator, before, after in zip(operators, names[:-1], names[1:], strict=True)
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")]
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    made: onnx.ModelProto = helper.make_model(
        helper.make_graph(nodes, "g", values[:1], values[1:]), opset_imports=opsets
    )
    made.ir_version = ir
    return made


@pytest.mark.parametrize(
    ("operators", "before", "after"),
    [
        (("Relu",), 20, 14),
        (("Relu", "Softmax"), 25, 14),
        (("Sigmoid",), 20, LOWEST),
        (("Gelu", "Relu"), 22, 20),
        (("Identity",), 28, 25),
        (("Relu",), 11, 11),
    ],
)
def test_the_opset_is_that_of_the_newest_operator(operators: tuple[str, ...], before: int, after: int) -> None:
    model = graph(*operators, opset=before, ir=8)
    lower_versions(model)
    assert model.opset_import[0].version == after
    checker.check_model(model, full_check=True)
    for node in model.graph.node:
        definitions = [onnx.defs.get_schema(node.op_type, max_inclusive_version=opset) for opset in (before, after)]
        assert definitions[0].since_version == definitions[1].since_version


def test_the_answers_are_the_same_bit_by_bit() -> None:
    model = graph("Relu", "Gelu", "Softmax", opset=22)
    rows = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)
    before = open_session(model.SerializeToString()).run(None, {"x": rows})[0]
    lowered = with_lowest_versions(model.SerializeToString())
    assert str(graph_versions(lowered)) == "IR 9, opset 20"
    np.testing.assert_array_equal(open_session(lowered).run(None, {"x": rows})[0], before)


@pytest.mark.parametrize(("operators", "needed"), [(("Gelu", "Relu"), 20), (("Sigmoid", "Relu"), 19)])
def test_an_operator_inside_of_a_branch_counts(operators: tuple[str, str], needed: int) -> None:
    empty = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    branches = [helper.make_graph([helper.make_node(op, ["x"], ["z"])], op, [], empty) for op in operators]
    node = helper.make_node("If", ["yes"], ["y"], then_branch=branches[0], else_branch=branches[1])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    yes = numpy_helper.from_array(np.array(True), "yes")
    body = helper.make_graph([node], "g", values[:1], values[1:], [yes])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)])
    lower_versions(model)
    assert model.opset_import[0].version == needed  # 19 is that of If


def test_a_new_type_keeps_its_ir() -> None:
    model = graph("Relu", opset=21, ir=10)
    model.graph.initializer.append(helper.make_tensor("w", TensorProto.INT4, [2], [1, 2]))
    lower_versions(model)
    assert model.ir_version == 10


@pytest.mark.parametrize(
    "model",
    [graph("Relu", opset=99), graph("NoOperator", opset=22, ir=3), graph("Relu", opset=LOWEST, ir=7)],
    ids=["an unknown opset", "an unknown operator", "the lowest already"],
)
def test_what_is_not_understood_is_left_as_it_is(model: onnx.ModelProto) -> None:
    content = model.SerializeToString()
    assert (
        not lower_versions(model)
        or model.opset_import[0].version == onnx.ModelProto.FromString(content).opset_import[0].version
    )


def test_operators_of_another_domain_keep_their_version() -> None:
    model = graph("Gelu", opset=20, domain="com.microsoft")
    lower_versions(model)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": LOWEST, "com.microsoft": 1}


def test_a_file_that_is_stamped_too_new_goes_in_if_its_operators_are_old(tmp_path: Path) -> None:
    onnx.save(graph("Relu", opset=20, ir=39), tmp_path / "stamped.onnx")
    artifact = pack_onnx(tmp_path / "stamped.onnx", tmp_path / "out", name="stamped")
    versions = graph_versions(artifact.onnx_file())
    assert str(versions) == "IR 7, opset 14"


def test_a_file_that_is_too_new_is_one_sentence(tmp_path: Path) -> None:
    onnx.save(graph("Relu", opset=99), tmp_path / "new.onnx")
    with pytest.raises(WrapError, match=r"new.onnx is too new: it has IR 10, opset 99, and onnxruntime") as caught:
        pack_onnx(tmp_path / "new.onnx", tmp_path / "out", name="new")
    assert "\n" not in str(caught.value)
