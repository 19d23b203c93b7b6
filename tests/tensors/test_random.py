"""Made-up inputs keep every rule of their TensorSpecs."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.spec import DType, TensorSpec
from lading.tensors.checks import check_inputs
from lading.tensors.random import random_inputs
from tests.given.tiny import TinyGraph

NUMBERS = st.none() | st.integers(-100, 100).map(float)


@given(st.sampled_from(get_args(DType)), NUMBERS, st.none() | st.floats(0, 50), st.integers(1, 9))
def test_drawn_inputs_pass_the_checks_of_a_request(
    dtype: DType, minimum: float | None, width: float | None, batch: int
) -> None:
    kind = TensorSpec(name="x", dtype=dtype, shape=("batch",)).numpy_dtype.kind
    low = minimum if kind in "if" else None
    high = low + width if low is not None and width is not None and kind == "f" else None
    spec = TensorSpec(name="x", dtype=dtype, shape=("batch", 3), minimum=low, maximum=high)
    drawn = random_inputs([spec], {"batch": batch}, np.random.default_rng(0))
    if dtype != "float16":  # A bound may lie between two half floats.
        check_inputs([spec], drawn)
    assert drawn["x"].shape == (batch, 3)
    assert drawn["x"].dtype == spec.numpy_dtype


def test_a_range_with_an_upper_end_alone_ends_there() -> None:
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 100), maximum=-5)
    assert random_inputs([spec], {"batch": 4}, np.random.default_rng(0))["x"].max() <= -5


@pytest.mark.parametrize("graphs", [1, 3])
def test_indexes_and_owners_point_into_their_dims(graphs: int) -> None:
    sizes = {"nodes": 6, "edges": 20, "batch": graphs}
    drawn = random_inputs(TinyGraph.inputs, sizes, np.random.default_rng(0))
    check_inputs(TinyGraph.inputs, drawn)
    assert set(drawn["owner"]) == set(range(graphs))
    assert (np.diff(drawn["owner"]) >= 0).all()
