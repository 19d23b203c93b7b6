"""Thresholds from the data themselves: how far do two samples of the same data lie apart?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from lading.drift.distance import Shares, Test
from lading.drift.embedding import mmd
from lading.drift.null import Null

WINDOW = 500
"""Requests in a resampled window; moments for other windows follow from these."""
LEAST = 50
"""Examples below which nobody can say what chance does; there are no thresholds then."""
ROUNDS = 400
_SEED = 5
POWER: Mapping[Test, int] = {"ks": 2}
"""A Kolmogorov-Smirnov distance is no sum of squares; its square behaves like one."""


def null_of_histograms(
    histograms: NDArray[np.int64], tests: Mapping[Test, Callable[[Shares, Shares], float]]
) -> dict[Test, Null]:
    """Resample examples into pairs of a reference and a window, and take the moments of their distances.

    Args:
        histograms: int64 (examples, bins), one row an example; whole examples are drawn, so that the rows of one stay
            together.
        tests: distances by name.
    """
    # One more example in each bin: that something never happened among the examples does not mean that it cannot.
    rows = np.concatenate([histograms, np.eye(histograms.shape[1])])
    found: dict[Test, list[float]] = {name: [] for name in tests}
    for reference, window in _pairs(rows):
        if not reference.sum() or not window.sum():
            continue
        shares = reference / reference.sum(), window / window.sum()
        for name, distance in tests.items():
            found[name].append(distance(*shares))
    return {name: _null(values, POWER.get(name, 1)) for name, values in found.items() if values}


def null_of_sketches(features: NDArray[np.float64]) -> Null:
    """The same for random Fourier features, float64 (examples, dims), under the maximum mean discrepancy."""
    examples = len(features)
    return _null([mmd(left / examples, right / WINDOW) for left, right in _pairs(features)], 1)


def _pairs(rows: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Sums of rows drawn with replacement: as many as there are, and as many as a window has."""
    rng = np.random.default_rng(_SEED)
    count = len(rows)
    even = np.full(count, 1 / count)
    return [(rng.multinomial(count, even) @ rows, rng.multinomial(WINDOW, even) @ rows) for _ in range(ROUNDS)]


def _null(distances: list[float], power: int) -> Null:
    raised = np.asarray(distances) ** power
    return Null(window=WINDOW, mean=float(raised.mean()), variance=float(raised.var()), power=power)
