"""An index outside of a table of the graph is refused; the bound is read from the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lading.build.onnx_file import pack_onnx
from lading.build.onnx_reader import read_bare
from lading.build.table_bounds import with_table_bounds
from lading.errors import InputValueError
from lading.predictor import Predictor
from lading.spec import Array, DType, TensorSpec
from tests.given.onnx_text import parse, save
from tests.given.quick_verify import quick_verify

LOOKUPS = {
    "directly": "y = Gather (table, x)",
    "after a cast": "wide = Cast <to = 7> (x) y = Gather (table, wide)",
    "after a copy and a transposition": "same = Identity (x) turned = Transpose (same) y = Gather (table, turned)",
    "by another axis": "y = Gather <axis = 1> (table, x)",
    "in a quantized table": "wide = DequantizeLinear (small, scale) y = Gather (wide, x)",
    "in two tables, of which the smaller counts": "a = Gather (larger, x) b = Gather (table, x) y = Add (a, b)",
}


def graph(body: str, rows: int, dtype: str = "int64") -> onnx.ModelProto:
    """x (N, 3) to y; ``table`` has this number of rows and of columns."""
    model = parse(body, f"{dtype}[N, 3] x", "float[N, 3, rest] y")
    tables: dict[str, Array] = {
        "table": np.ones((rows, rows), np.float32),
        "larger": np.ones((rows + 5, rows), np.float32),
        "small": np.ones((rows, 2), np.int8),
        "scale": np.array(1, np.float32),
    }
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in tables.items() if n in read)
    return model


@pytest.mark.parametrize("body", LOOKUPS.values(), ids=LOOKUPS)
@settings(max_examples=10, deadline=None)
@given(rows=st.integers(1, 100), dtype=st.sampled_from(["int64", "int32"]))
def test_the_bounds_are_those_of_the_smallest_table(body: str, rows: int, dtype: DType) -> None:
    spec = TensorSpec(name="x", dtype=dtype, shape=("batch", 3))
    (bounded,) = with_table_bounds([spec], graph(body, rows, dtype))
    assert (bounded.minimum, bounded.maximum) == (-rows, rows - 1)


@pytest.mark.parametrize(
    "body",
    ["one = Constant <value_int = 1> () wide = Add (x, one) y = Gather (table, wide)", "y = Cast <to = 1> (x)"],
    ids=["after arithmetic", "without a table"],
)
def test_other_inputs_have_no_bounds(body: str) -> None:
    spec = TensorSpec(name="x", dtype="int64", shape=("batch", 3))
    assert with_table_bounds([spec], graph(body, 10)) == (spec,)


def test_narrower_bounds_of_a_spec_stay() -> None:
    spec = TensorSpec(name="x", dtype="int64", shape=("batch", 3), minimum=1, maximum=4)
    assert with_table_bounds([spec], graph(LOOKUPS["directly"], 10)) == (spec,)


def test_an_unsigned_index_begins_at_zero() -> None:
    spec = TensorSpec(name="x", dtype="uint8", shape=("batch", 3))
    (bounded,) = with_table_bounds([spec], graph(LOOKUPS["after a cast"], 10, "uint8"))
    assert (bounded.minimum, bounded.maximum) == (0, 9)


def test_a_table_with_fewer_rows_than_random_inputs_have_values_can_be_packed(tmp_path: Path) -> None:
    table = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "table")
    nodes = [helper.make_node("Gather", ["table", "tokens"], ["rows"]), helper.make_node("Flatten", ["rows"], ["y"])]
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", 4])
    answered = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [tokens], [answered], [table]),
        ir_version=9,
        opset_imports=[helper.make_opsetid("", 20)],
    )
    file = save(model, tmp_path / "tokens.onnx")
    assert read_bare(file).inputs[0].maximum == 2
    with quick_verify():
        predictor = Predictor(pack_onnx(file, tmp_path / "artifact", name="tokens"))
    assert predictor({"tokens": np.array([[0, 1, 2, -3]])})["y"].tolist() == [[0, 1, 2, 3, 4, 5, 0, 1]]
    with pytest.raises(InputValueError, match="has the value 3; the largest allowed is 2"):
        predictor({"tokens": np.array([[0, 1, 2, 3]])})
