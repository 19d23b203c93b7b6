"""How far two answers are apart, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lading.spec import Array, TensorSpec


def max_abs_difference(left: Array, right: Array) -> float:
    """Largest absolute difference; infinite when the shapes differ, and NaN only matches NaN."""
    if left.shape != right.shape:
        return float("inf")
    if left.size == 0:
        return 0.0
    if left.dtype.kind not in "fiub" or right.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(left, right) else float("inf")
    wide_left, wide_right = left.astype(np.float64), right.astype(np.float64)
    if not np.array_equal(np.isnan(wide_left), np.isnan(wide_right)):
        return float("inf")
    return float(np.nanmax(np.abs(wide_left - wide_right), initial=0.0))


def relative_error(expected: Mapping[str, Array], got: Mapping[str, Array]) -> float:
    """Root mean square difference over root mean square, of the floating output for which it is largest."""
    errors = [0.0]
    for name, reference in expected.items():
        if reference.dtype.kind == "f" and reference.size:
            wide = reference.astype(np.float64)
            power = max(float(np.mean(wide**2)), 1e-30)
            errors.append((float(np.mean((got[name] - wide) ** 2)) / power) ** 0.5)
    return max(errors)


CLOSE = 0.01
"""An output without labels agrees when it is within this share of fp32's own range."""


def agreement(specs: Sequence[TensorSpec], fp32: Mapping[str, Array], other: Mapping[str, Array]) -> float:
    """Share of rows on which every output agrees: the same most likely label, or a value close to fp32's, 0 to 1."""
    labelled = [tensor for tensor in specs if tensor.labels]
    if labelled:
        same = [
            (fp32[tensor.name].argmax(-1) == other[tensor.name].argmax(-1)).reshape(len(fp32[tensor.name]), -1).all(1)
            for tensor in labelled
        ]
    else:
        same = [_close(fp32[tensor.name], other[tensor.name]) for tensor in specs]
    return float(np.mean(np.logical_and.reduce(same)))


def difference(specs: Sequence[TensorSpec], fp32: Mapping[str, Array], other: Mapping[str, Array]) -> float:
    """Largest absolute difference over all outputs."""
    return max(max_abs_difference(fp32[tensor.name], other[tensor.name]) for tensor in specs)


def _close(fp32: Array, other: Array) -> Array:
    wide, narrow = fp32.astype(np.float64), other.astype(np.float64)
    allowed = CLOSE * max(float(np.ptp(wide)), 1e-12)
    return np.asarray((np.abs(wide - narrow) <= allowed).reshape(len(wide), -1).all(axis=1))
