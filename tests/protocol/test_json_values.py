"""Properties of turning JSON into arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lading.budget import Budget
from lading.errors import LadingError, RequestError
from lading.protocol.datatypes import as_json
from lading.protocol.json_body import parse_object
from lading.protocol.json_values import parse_tensor, read_inputs
from lading.spec import DType, TensorSpec

DTYPES: tuple[DType, ...] = (
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64",
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=3),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=2), children, max_size=2),
    max_leaves=8,
)


def outcome(parse: Callable[[], Any]) -> Any:
    """What a parser returns, or the sentence with which it refuses; any other exception fails the test."""
    try:
        return parse()
    except LadingError as error:
        return str(error)


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    elements = {"allow_nan": False, "allow_infinity": False}
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    return draw(hnp.arrays(dtype, shape, elements=elements if dtype.kind == "f" else None))


@given(arrays())
def test_every_array_survives_json(array: Any) -> None:
    spec = TensorSpec(name="x", dtype=array.dtype.name, shape=("batch", *array.shape[1:]))
    value = orjson.loads(orjson.dumps(array.astype(float).tolist() if array.dtype.kind == "f" else array.tolist()))
    parsed = parse_tensor(spec, value)
    assert parsed.dtype == array.dtype
    assert np.array_equal(parsed, array)


@given(json_values, st.sampled_from(DTYPES), st.integers(0, 3))
def test_any_json_is_an_array_of_the_declared_dtype_or_a_sentence(value: Any, dtype: DType, dims: int) -> None:
    spec = TensorSpec(name="x", dtype=dtype, shape=("batch", *(["n"] * dims)))
    array = outcome(lambda: parse_tensor(spec, value))
    if isinstance(array, str):
        assert array.startswith("input 'x'")
    else:
        assert (array.dtype.name, array.ndim) == (dtype, dims + 1)


@given(json_values)
def test_any_object_is_read_or_refused_by_a_sentence(value: Any) -> None:
    specs = (
        TensorSpec(name="image", dtype="uint8", shape=("batch", 2, 2, 3), content="image"),
        TensorSpec(name="nodes", dtype="float32", shape=("nodes", 1)),
        TensorSpec(name="owner", dtype="int64", shape=("nodes",), owner_of="nodes"),
    )
    content = value if isinstance(value, dict) else {"image": value, "nodes": value, "owner": value}
    with pytest.raises(LadingError):
        read_inputs(specs, {**content, "unknown": 1}, max_batch=2, budget=Budget())
    arrays = outcome(lambda: read_inputs(specs, content, max_batch=2, budget=Budget()))
    assert "input" in arrays if isinstance(arrays, str) else list(arrays) == ["image", "nodes", "owner"]


@given(st.binary(max_size=40))
def test_any_bytes_are_an_object_or_a_sentence(body: bytes) -> None:
    assert isinstance(outcome(lambda: parse_object(body)), dict | str)


def test_a_ragged_list_deep_inside_is_named_by_its_path() -> None:
    spec = TensorSpec(name="x", dtype="int8", shape=("batch", "a", "b"))
    with pytest.raises(RequestError, match=r"input 'x' is ragged: \[0\]\[0\] has 2 entries, and \[1\]\[0\] has 1"):
        parse_tensor(spec, [[[1, 2], [3, 4]], [[5], [6, 7]]])


SHAPES = [(0,), (5,), (0, 70_000), (2**16,), (2**16 + 1,), (200_001,), (1, 70_000), (3, 70_000), (140_000, 1)]
SHAPES += [(5, 3, 30_000), (70_000, 0), (1, 1, 1, 200_000), (2, 2, 2, 40_000)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool", "int64"])
def test_an_array_that_is_written_in_parts_is_the_same_json(shape: tuple[int, ...], dtype: str) -> None:
    array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    whole = orjson.dumps({"x": array}, option=orjson.OPT_SERIALIZE_NUMPY)
    assert orjson.dumps({"x": as_json(array)}, option=orjson.OPT_SERIALIZE_NUMPY) == whole
