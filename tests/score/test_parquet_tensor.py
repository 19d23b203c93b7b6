"""Columns of Arrow become tensors without a changed value, and what cannot is refused before the first row."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lading.artifact import Artifact
from lading.errors import DataError, RequestError
from lading.protocol.json_values import parse_tensor
from lading.score.parquet_result import arrow_array, arrow_type
from lading.score.parquet_tensor import rows_of, stacked, type_problem
from lading.spec import TensorSpec
from tests.score.scored import features, run, write_lines, write_parquet

DTYPES = ("bool", "uint8", "int16", "int64", "uint64", "float32", "float64")


@st.composite
def tensors(draw: st.DrawFn) -> tuple[TensorSpec, Any]:
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(1, 4), max_size=3))
    spec = TensorSpec(name="x", dtype=dtype, shape=("batch", *shape))
    elements = {"allow_nan": False, "allow_infinity": False} if dtype.startswith("float") else {}
    rows = draw(st.integers(0, 5))
    return spec, draw(arrays.arrays(spec.numpy_dtype, (rows, *shape), elements=elements))


@given(tensors(), st.integers(0, 5))
def test_a_tensor_written_as_a_column_is_read_back_exactly(case: tuple[TensorSpec, Any], cut: int) -> None:
    spec, values = case
    column = arrow_array(spec, values)
    assert column.type == arrow_type(spec)
    assert type_problem(spec, column.type) is None
    np.testing.assert_array_equal(stacked(spec, column.slice(cut)), values[cut:])
    assert stacked(spec, column).dtype == spec.numpy_dtype


@given(tensors())
def test_a_column_and_a_json_list_hold_the_same_tensor(case: tuple[TensorSpec, Any]) -> None:
    spec, values = case
    loose = pa.array(values.tolist(), _variable(arrow_type(spec)))
    assert type_problem(spec, loose.type) is None
    np.testing.assert_array_equal(stacked(spec, loose), parse_tensor(spec, values.tolist()))


@given(st.lists(st.integers(0, 4), max_size=6), st.integers(0, 6))
def test_rows_of_different_lengths_keep_their_own(sizes: list[int], cut: int) -> None:
    spec = TensorSpec(name="edges", dtype="int64", shape=(2, "edges"))
    rows = [np.arange(2 * size).reshape(2, size) for size in sizes]
    column = pa.array([row.tolist() for row in rows], pa.list_(pa.list_(pa.int64()))).slice(cut)
    found = rows_of(spec, column)
    assert [row.shape for row in found] == [row.shape for row in rows[cut:]]
    for row, expected in zip(found, rows[cut:], strict=True):
        np.testing.assert_array_equal(row, expected)


def test_a_fixed_shape_tensor_column_is_read() -> None:
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 2, 3))
    values = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
    assert type_problem(spec, column.type) is None
    np.testing.assert_array_equal(stacked(spec, column.slice(1)), values[1:])
    assert "the model takes" in str(
        type_problem(TensorSpec(name="x", dtype="float32", shape=("batch", 3, 2)), column.type)
    )


FLOATS = TensorSpec(name="x", dtype="float32", shape=("batch", 2))
PICTURE = TensorSpec(name="x", dtype="uint8", shape=("batch", 4, 4, 3), content="image")
REFUSED = [
    (FLOATS, pa.dictionary(pa.int32(), pa.float32()), "store the plain values, not a dictionary"),
    (FLOATS, pa.list_(pa.dictionary(pa.int32(), pa.string())), "store the plain values"),
    (FLOATS, pa.list_(pa.decimal128(9, 2)), "a decimal has no exact float32"),
    (FLOATS, pa.list_(pa.string()), "the model takes float32"),
    (FLOATS, pa.list_(pa.bool_()), "cast it to float32"),
    (FLOATS, pa.float32(), "of shape [2]"),
    (FLOATS, pa.list_(pa.float32(), 3), "of shape [2]"),
    (FLOATS, pa.list_(pa.list_(pa.float32())), "of shape [2]"),
    (FLOATS, pa.timestamp("us"), "has the type timestamp"),
    (FLOATS, pa.struct({"bytes": pa.binary()}), "has the type struct"),
    (TensorSpec(name="x", dtype="int64", shape=("batch",)), pa.float64(), "cast it to int64"),
    (TensorSpec(name="x", dtype="bool", shape=("batch",)), pa.int8(), "cast it to bool"),
    (PICTURE, pa.string(), "or the bytes of a JPEG, PNG or WebP file"),
]


@pytest.mark.parametrize(("spec", "kind", "sentence"), REFUSED)
def test_a_type_that_is_no_tensor_is_refused_with_a_sentence(
    spec: TensorSpec, kind: pa.DataType, sentence: str
) -> None:
    assert sentence in str(type_problem(spec, kind))


@pytest.mark.parametrize(
    ("dtype", "kind", "value"),
    [
        ("uint8", pa.int64(), 256),
        ("uint8", pa.int8(), -1),
        ("int64", pa.uint64(), 2**63),
        ("float32", pa.float64(), 1e39),
    ],
)
def test_a_value_that_the_dtype_cannot_hold_is_refused(dtype: Any, kind: pa.DataType, value: float) -> None:
    spec = TensorSpec(name="x", dtype=dtype, shape=("batch",))
    with pytest.raises(RequestError, match=f"which {dtype} cannot hold"):
        stacked(spec, pa.array([value], kind))


def test_the_file_and_the_column_are_named_before_a_row_is_scored(small: dict[str, Artifact], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_parquet(folder / "a.parquet", features(3))
    pq.write_table(pa.table({"features": pa.array([[Decimal(1)] * 4])}), folder / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet: the column 'features' has the type list<.*decimal128"):
        run(small["table"], folder, tmp_path / "out.jsonl")
    pq.write_table(pa.table({"feature": pa.array([[1.0] * 4])}), folder / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet has no column 'features' .* did you mean 'feature'\?"):
        run(small["table"], folder, tmp_path / "out.jsonl")
    (folder / "b.parquet").unlink()
    with pytest.raises(DataError, match=r"has no column 'ids' .* did you mean 'id'"):
        run(small["table"], folder, tmp_path / "out.jsonl", keep=("ids",))
    assert not (tmp_path / "out.jsonl.parts").exists()
    lines = write_lines(tmp_path / "in.jsonl", [{"feature": [1, 2, 3, 4]}])
    with pytest.raises(DataError, match=r"in\.jsonl, line 1 has no column 'features'"):
        run(small["table"], lines, tmp_path / "out.jsonl", keep_errors=True)


def _variable(kind: pa.DataType) -> pa.DataType:
    return pa.list_(_variable(kind.value_type)) if pa.types.is_fixed_size_list(kind) else kind
