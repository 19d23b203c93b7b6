"""Compare two answers: how far they are apart, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lading.answers import AnswerKind, aligned, answer_kind
from lading.spec import Array, TensorSpec


def max_abs_difference(left: Array, right: Array) -> float:
    """Largest absolute difference; infinite when the shapes differ. NaN and an infinity only match themselves."""
    if left.shape != right.shape:
        return float("inf")
    if left.size == 0:
        return 0.0
    if left.dtype.kind not in "fiub" or right.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(left, right) else float("inf")
    wide_left, wide_right = left.astype(np.float64), right.astype(np.float64)
    if not np.array_equal(np.isnan(wide_left), np.isnan(wide_right)):
        return float("inf")
    different = (wide_left != wide_right) & ~np.isnan(wide_left)
    return float(np.abs(wide_left[different] - wide_right[different]).max(initial=0.0))


def relative_error(expected: Mapping[str, Array], got: Mapping[str, Array]) -> float:
    """Root mean square difference divided by root mean square, of the floating-point output for which it is largest."""
    errors = [0.0]
    for name, reference in expected.items():
        if reference.dtype.kind == "f" and reference.size:
            wide = reference.astype(np.float64)
            power = max(float(np.mean(wide**2)), 1e-30)
            errors.append((float(np.mean((got[name] - wide) ** 2)) / power) ** 0.5)
    return max(errors)


CLOSE = 0.01
"""Two numbers agree when they differ by at most this share of the range of the expected ones."""


def close(expected: Array, got: Array) -> Array:
    """Which numbers agree, element by element: boolean, of the common shape.

    The allowed difference is :data:`CLOSE` times the range of ``expected``, or times its largest absolute value where
    all values are equal, as in an answer of one number. Strings agree when they are equal.
    """
    if expected.dtype.kind in "OU":
        return np.asarray(expected == got, bool)
    wide, other = expected.astype(np.float64), got.astype(np.float64)
    scale = float(np.ptp(wide)) if wide.size else 0.0
    scale = scale or float(np.abs(wide).max(initial=0.0))
    return np.asarray(np.abs(wide - other) <= CLOSE * max(scale, 1e-12))


def same_label(expected: Array, got: Array) -> Array:
    """Where the most likely label is the same: boolean, of the shape without the last dim."""
    return np.asarray(expected.argmax(-1) == got.argmax(-1))


def agreeing_rows(specs: Sequence[TensorSpec], expected: Mapping[str, Array], got: Mapping[str, Array]) -> Array:
    """Which rows agree: labelled outputs have the same most likely label, and outputs of a kind are alike enough.

    The number for alike is the kind's ``least``. Without labelled outputs and kinds, every number must be
    :func:`close`.

    Returns:
        Boolean (rows,).
    """
    labelled = [tensor.name for tensor in specs if tensor.labels]
    alike = [kind.similarity(spec, expected[spec.name], got[spec.name]) >= kind.least for spec, kind in _kinds(specs)]
    plain = [tensor.name for tensor in specs] if not labelled and not alike else labelled
    compare = same_label if labelled else close
    same = [compare(expected[name], got[name]) for name in plain] + alike
    return np.asarray(np.logical_and.reduce([one.all(axis=tuple(range(1, one.ndim))) for one in same]))


def similarities(
    specs: Sequence[TensorSpec], expected: Mapping[str, Array], got: Mapping[str, Array]
) -> dict[str, tuple[str, Array]]:
    """Name of the measure and similarity of each row (rows,), by name of an output with a kind."""
    return {
        spec.name: (kind.measure, kind.similarity(spec, expected[spec.name], got[spec.name]))
        for spec, kind in _kinds(specs)
    }


def _kinds(specs: Sequence[TensorSpec]) -> list[tuple[TensorSpec, AnswerKind]]:
    return [(spec, kind) for spec in specs if (kind := answer_kind(spec)) is not None]


def agreement(specs: Sequence[TensorSpec], expected: Mapping[str, Array], got: Mapping[str, Array]) -> float:
    """Share of :func:`agreeing_rows`, 0 to 1."""
    return float(np.mean(agreeing_rows(specs, expected, got)))


def difference(specs: Sequence[TensorSpec], expected: Mapping[str, Array], got: Mapping[str, Array]) -> float:
    """Largest absolute difference over all outputs of numbers; 0 if there are none."""
    return max(
        (
            max_abs_difference(expected[tensor.name], aligned(tensor, expected[tensor.name], got[tensor.name]))
            for tensor in specs
            if tensor.dtype != "string"
        ),
        default=0.0,
    )
