"""Distances between two histograms over the same bins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float64]
Test = Literal["psi", "js", "ks", "mmd"]
_LEAST = 1e-4  # an empty bin would make the population stability index infinite


def psi(reference: Shares, current: Shares) -> float:
    """Population stability index: the symmetric Kullback-Leibler divergence of two share vectors (bins,), in nats.

    Bins are taken to hold at least 0.01 %.
    """
    left, right = np.maximum(reference, _LEAST), np.maximum(current, _LEAST)
    return float(((right - left) * np.log(right / left)).sum())


def js(reference: Shares, current: Shares) -> float:
    """Jensen-Shannon divergence of two share vectors (bins,), in nats: 0 to ln 2."""
    middle = (reference + current) / 2
    return (_kl(reference, middle) + _kl(current, middle)) / 2


def ks(reference: Shares, current: Shares) -> float:
    """Kolmogorov-Smirnov distance of two share vectors (bins,) in order: the largest gap between their sums, 0 to 1."""
    return float(np.abs(np.cumsum(current - reference)).max())


TESTS: Mapping[Literal["number", "category"], Mapping[Test, Callable[[Shares, Shares], float]]] = {
    "number": {"psi": psi, "js": js, "ks": ks},
    # The order of labels means nothing, so sums along it do not either.
    "category": {"psi": psi, "js": js},
}
"""Which distances are computed of which kind of feature."""


def _kl(left: Shares, right: Shares) -> float:
    there = left > 0
    return float((left[there] * np.log(left[there] / right[there])).sum())
