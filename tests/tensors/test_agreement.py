"""When two answers agree."""

from __future__ import annotations

import numpy as np
import pytest

from lading.spec import Array, TensorSpec
from lading.tensors.agreement import agreeing_rows, agreement, close, max_abs_difference

KIND = TensorSpec(name="kind", dtype="float32", shape=("batch", 2), labels=("cat", "dog"))
WEIGHT = TensorSpec(name="weight", dtype="float32", shape=("batch", 1))


def test_labelled_outputs_agree_on_the_label_and_leave_the_numbers_aside() -> None:
    expected = {"kind": np.array([[0.9, 0.1], [0.2, 0.8]]), "weight": np.array([[1.0], [2.0]])}
    got = {"kind": np.array([[0.6, 0.4], [0.6, 0.4]]), "weight": np.array([[5.0], [5.0]])}
    assert agreeing_rows((KIND, WEIGHT), expected, got).tolist() == [True, False]
    assert agreement((KIND, WEIGHT), expected, got) == 0.5


def test_numbers_agree_within_a_share_of_the_range_of_the_expected_ones() -> None:
    expected = {"weight": np.array([[0.0], [50.0], [100.0]])}
    got = {"weight": np.array([[0.9], [51.5], [100.0]])}
    assert agreeing_rows((WEIGHT,), expected, got).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("expected", "got", "agrees"),
    [([200.0], [201.0], True), ([200.0], [203.0], False), ([0.0], [0.0], True), ([0.0], [0.1], False)],
)
def test_an_answer_of_one_number_is_compared_with_its_size(
    expected: list[float], got: list[float], agrees: bool
) -> None:
    assert close(np.array(expected), np.array(got)).all() == agrees


def test_no_numbers_agree() -> None:
    assert close(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("left", "right", "difference"),
    [
        (np.array([1.0, 2.0]), np.array([1.0, 2.5]), 0.5),
        (np.array([np.nan]), np.array([np.nan]), 0.0),
        (np.array([np.nan]), np.array([1.0]), float("inf")),
        (np.zeros(2), np.zeros(3), float("inf")),
        (np.array(["a"]), np.array(["b"]), float("inf")),
        (np.zeros(0), np.zeros(0), 0.0),
    ],
)
def test_the_largest_difference_knows_shapes_and_nan(left: Array, right: Array, difference: float) -> None:
    assert max_abs_difference(left, right) == difference
