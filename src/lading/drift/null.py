"""How large a distance becomes by chance alone, and so where an alarm begins."""

from __future__ import annotations

import math
from statistics import NormalDist

from pydantic import Field

from lading.spec import Frozen

_NORMAL = NormalDist()


class Null(Frozen):
    """Mean and variance of a distance while nothing has changed, found by resampling the reference's own examples.

    The distances are sums of squares of nearly normal errors, so they follow a chi-squared distribution times a scale;
    both follow from the two moments (Satterthwaite 1946). Rows of one request depend on each other, which makes the
    scale larger than the textbook's: that is why it is measured.
    """

    window: int = Field(ge=1)
    """Requests in the windows that were resampled."""
    mean: float = Field(ge=0)
    variance: float = Field(ge=0)
    power: int = 1
    """The moments are those of the distance to this power: 2 for a Kolmogorov-Smirnov distance."""

    def threshold(self, alarm: float, *, window: float, examples: int) -> float:
        """The distance that is reached with probability ``alarm`` though nothing has changed.

        Args:
            alarm: probability, above 0.
            window: requests that the distance is computed over; fewer than there were, where they come in clusters.
            examples: of the reference.
        """
        dof, scale = self._shape(window, examples)
        if dof == 0:
            return 0.0
        # Wilson and Hilferty (1931): the cube root of a chi-squared variable is nearly normal.
        root = 1 - 2 / (9 * dof) - _NORMAL.inv_cdf(alarm) * math.sqrt(2 / (9 * dof))
        return float((scale * dof * root**3) ** (1 / self.power))

    def p_value(self, distance: float, *, window: float, examples: int) -> float:
        """The probability of a distance of at least this though nothing has changed."""
        dof, scale = self._shape(window, examples)
        if dof == 0:
            return 0.0 if distance > 0 else 1.0
        root = (distance**self.power / (scale * dof)) ** (1 / 3)
        return _NORMAL.cdf(-(root - (1 - 2 / (9 * dof))) / math.sqrt(2 / (9 * dof)))

    def _shape(self, window: float, examples: int) -> tuple[float, float]:
        """Degrees of freedom and scale; chance shrinks with both the window and the reference."""
        if self.mean == 0 or self.variance == 0:
            return 0.0, 0.0
        smaller = (1 / window + 1 / examples) / (1 / self.window + 1 / examples)
        return 2 * self.mean**2 / self.variance, smaller * self.variance / (2 * self.mean)
