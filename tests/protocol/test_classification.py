"""An output as its best classes: which, in which order, and how each is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lading.budget import Budget
from lading.errors import RequestError, UnanswerableError
from lading.protocol.classification import best_classes, check_scores
from lading.protocol.datatypes import raw_strings
from lading.protocol.oip import split_bytes
from lading.spec import Array, TensorSpec

NUMBERS = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
SCORES = st.sampled_from(NUMBERS).flatmap(
    lambda dtype: arrays.arrays(
        dtype,
        st.tuples(st.integers(1, 4), st.integers(1, 6)),
        elements={"allow_nan": False, "allow_infinity": False} if dtype.startswith("float") else None,
    )
)


def output(scores: Array, labels: tuple[str, ...] | None = None) -> TensorSpec:
    return TensorSpec(name="kind", dtype=scores.dtype.name, shape=("batch", scores.shape[1]), labels=labels)


def classes(scores: Any, count: int, *labels: str, dtype: str = "float32") -> list[str]:
    array = np.array(scores, dtype)
    return best_classes(output(array, labels or None), array, count, Budget())[1]


@given(SCORES, st.integers(1, 8))
def test_they_are_the_highest_scores_in_order_and_equal_ones_by_their_index(scores: Array, count: int) -> None:
    shape, texts = best_classes(output(scores), scores, count, Budget())
    count = min(count, scores.shape[1])
    wanted = [
        (value, index)
        for row in scores.tolist()
        for value, index in sorted(zip(row, range(len(row)), strict=True), key=lambda pair: -pair[0])[:count]
    ]
    found = [text.split(":") for text in texts]
    assert shape == [len(scores), count]
    assert [int(index) for _, index in found] == [index for _, index in wanted]
    read = [(int if scores.dtype.kind in "iu" else float)(value) for value, _ in found]
    assert np.array_equal(np.array(read, scores.dtype), np.array([value for value, _ in wanted], scores.dtype))
    assert not any("e" in value for value, _ in found), "a client may read digits and a point only"


def test_a_class_is_its_score_its_index_and_its_label() -> None:
    assert classes([[1, 5, 10, 4]], 2, dtype="int32") == ["10:2", "5:1"]
    assert classes([[1.5, 3.3], [0.1, -2]], 2) == ["3.3:1", "1.5:0", "0.1:0", "-2.0:1"]
    assert classes([[0.25, 0.75]], 1, "apple", "pickle: sour") == ["0.75:1:pickle: sour"]
    assert classes([[1e-8, 2.5e7]], 2, "wenig", "groß") == ["25000000.0:1:groß", "0.00000001:0:wenig"]


def test_raw_strings_are_read_back_by_the_reader_of_raw_inputs() -> None:
    texts = ["0.75:1:groß", "", "1:0"]
    read = split_bytes("kind", memoryview(raw_strings(texts)), [3])
    assert [bytes(element).decode() for element in read] == texts


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_no_order(value: float) -> None:
    with pytest.raises(UnanswerableError, match="not finite"):
        classes([[0.5, value]], 1)


def test_more_strings_than_the_budget_are_refused_before_one_is_written() -> None:
    scores = np.zeros((4, 100), np.float32)
    with pytest.raises(RequestError, match="100 classes of 4 rows of output 'kind' are 400 strings; at most 399"):
        best_classes(output(scores), scores, 10**9, Budget(json_values=399))
    assert best_classes(output(scores), scores, 99, Budget(json_values=399))[0] == [4, 99]


@pytest.mark.parametrize(
    ("shape", "dtype", "named"),
    [
        (("batch",), "float32", "float32 of shape [batch]"),
        (("batch", 3, 4), "float32", "float32 of shape [batch, 3, 4]"),
        (("batch", "rows", 4), "float32", "float32 of shape [batch, rows, 4]"),
        ((2, "edges"), "float32", "float32 of shape [2, edges]"),
        (("batch", 3), "bool", "bool of shape [batch, 3]"),
    ],
)
def test_an_output_that_is_no_vector_of_scores_has_no_classes(shape: Any, dtype: Any, named: str) -> None:
    with pytest.raises(RequestError) as error:
        check_scores(TensorSpec(name="kind", dtype=dtype, shape=shape))
    assert f"output 'kind' is {named}; classification takes" in str(error.value)


@pytest.mark.parametrize("shape", [("batch", 3), ("nodes", 3), ("batch", "classes")])
def test_rows_of_scores_have_classes_whatever_a_row_stands_for(shape: Any) -> None:
    check_scores(TensorSpec(name="kind", dtype="float32", shape=shape))
