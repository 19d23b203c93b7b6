"""Distances between two distributions, and their distribution without drift."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from lading.spec import Frozen

Shares = NDArray[np.float64]
Test = Literal["psi", "js", "ks", "mmd"]
_LEAST = 1e-4  # an empty bin would make the population stability index infinite


def psi(reference: Shares, current: Shares) -> float:
    """Population stability index: the symmetric Kullback-Leibler divergence of two share vectors (bins,), in nats.

    A bin counts as at least 0.01 %.
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
    # Labels have no order, so cumulative sums over them mean nothing.
    "category": {"psi": psi, "js": js},
}
"""The distances to compute, by kind of feature."""


def _kl(left: Shares, right: Shares) -> float:
    there = left > 0
    return float((left[there] * np.log(left[there] / right[there])).sum())


_NORMAL = NormalDist()


class Null(Frozen):
    """Mean and variance of a distance without drift, measured by resampling the reference's examples.

    The distances are sums of squares of nearly normal errors, so they follow a chi-squared distribution times a scale;
    both follow from the two moments (Satterthwaite 1946). Rows of one request depend on each other, which makes the
    scale larger than in a textbook, so it is measured.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    window: int = Field(ge=1)
    """Number of requests in a resampled window."""
    mean: float = Field(ge=0)
    variance: float = Field(ge=0)
    power: int = Field(default=1, ge=1)
    """The moments are of the distance raised to this power: 2 for a Kolmogorov-Smirnov distance."""

    def threshold(self, alarm: float, *, window: float, examples: int) -> float:
        """The distance that is exceeded with probability ``alarm`` without drift.

        Args:
            alarm: probability, above 0.
            window: effective number of requests: fewer than arrived, if they come in clusters.
            examples: number of examples in the reference.
        """
        dof, scale = self._shape(window, examples)
        if dof == 0:
            return 0.0
        # Wilson and Hilferty (1931): the cube root of a chi-squared variable is nearly normal.
        root = 1 - 2 / (9 * dof) - _NORMAL.inv_cdf(alarm) * math.sqrt(2 / (9 * dof))
        return float((scale * dof * root**3) ** (1 / self.power))

    def p_value(self, distance: float, *, window: float, examples: int) -> float:
        """Probability of at least this distance without drift."""
        dof, scale = self._shape(window, examples)
        if dof == 0:
            return 0.0 if distance > 0 else 1.0
        root = (distance**self.power / (scale * dof)) ** (1 / 3)
        return _NORMAL.cdf(-(root - (1 - 2 / (9 * dof))) / math.sqrt(2 / (9 * dof)))

    def _shape(self, window: float, examples: int) -> tuple[float, float]:
        """Degrees of freedom and scale. The scale shrinks as window and reference grow."""
        if self.mean == 0 or self.variance == 0:
            return 0.0, 0.0
        smaller = (1 / window + 1 / examples) / (1 / self.window + 1 / examples)
        return 2 * self.mean**2 / self.variance, smaller * self.variance / (2 * self.mean)
