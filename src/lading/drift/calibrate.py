"""Drift thresholds from the data: how far apart are two samples of the same data?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from lading.drift.distances import Null, Shares, Test
from lading.drift.sketch import mmd

WINDOW = 500
"""Requests in a resampled window. The moments for other windows follow from these."""
LEAST = 50
"""Minimum number of examples to estimate chance. With fewer there are no thresholds."""
ROUNDS = 400
_SEED = 5
POWER: Mapping[Test, int] = {"ks": 2}
"""Power of a distance that behaves like a sum of squares; 1 unless listed."""


def null_of_histograms(
    histograms: NDArray[np.int64],
    tests: Mapping[Test, Callable[[Shares, Shares], float]],
    groups: NDArray[np.intp] | None = None,
) -> dict[Test, Null]:
    """Resample groups of examples into pairs of a reference and a window, and take the moments of their distances.

    Args:
        histograms: int64 (examples, bins), one row per example. Whole examples are drawn, so that the values of one
            stay together.
        tests: distances by name.
        groups: the number of each example's group, (examples,) from 0. By default every example is its own group.
    """
    sums = _group_sums(histograms.astype(np.float64), groups)
    # Add one group to each bin: values that never occur in the examples may still occur.
    rows = np.concatenate([sums, len(histograms) / len(sums) * np.eye(histograms.shape[1])])
    found: dict[Test, list[float]] = {name: [] for name in tests}
    for reference, window in _pairs(rows, len(histograms) / len(sums)):
        if not reference.sum() or not window.sum():
            continue
        shares = reference / reference.sum(), window / window.sum()
        for name, distance in tests.items():
            found[name].append(distance(*shares))
    return {name: _null(values, POWER.get(name, 1)) for name, values in found.items() if values}


def null_of_sketches(features: NDArray[np.float64], groups: NDArray[np.intp] | None = None) -> Null:
    """The same for random Fourier features, float64 (examples, dims), under the maximum mean discrepancy."""
    sized = _group_sums(np.concatenate([features, np.ones((len(features), 1))], axis=1), groups)
    pairs = _pairs(sized, len(features) / len(sized))
    return _null([mmd(one[:-1] / one[-1], other[:-1] / other[-1]) for one, other in pairs], 1)


def design_effect(features: NDArray[np.float64], groups: NDArray[np.intp] | None) -> float:
    """Kish's design effect (1965) over all dims together: the variance of the mean of clustered examples, divided by
    that of independent examples; at least 1.

    Args:
        features: float64 (examples, dims).
        groups: as in :func:`null_of_histograms`.
    """
    if groups is None:
        return 1.0
    centred = features - features.mean(axis=0)
    return max(1.0, float((_group_sums(centred, groups) ** 2).sum() / max((centred**2).sum(), 1e-12)))


def _group_sums(rows: NDArray[np.float64], groups: NDArray[np.intp] | None) -> NDArray[np.float64]:
    if groups is None:
        return rows
    known, numbers = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(known), rows.shape[1]))
    np.add.at(sums, numbers, rows)
    return sums


def _pairs(groups: NDArray[np.float64], size: float) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Sums of groups drawn with replacement: one sample of the reference's size and one of the window's, per round."""
    rng = np.random.default_rng(_SEED)
    count = len(groups)
    even = np.full(count, 1 / count)
    drawn = max(1, round(WINDOW / size))
    return [(rng.multinomial(count, even) @ groups, rng.multinomial(drawn, even) @ groups) for _ in range(ROUNDS)]


def _null(distances: list[float], power: int) -> Null:
    raised = np.asarray(distances) ** power
    return Null(window=WINDOW, mean=float(raised.mean()), variance=float(raised.var()), power=power)
