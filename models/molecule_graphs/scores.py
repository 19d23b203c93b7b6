"""Scores of the predictions of a property."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def error_ratio(predicted: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Mean absolute error over that of a constant guess, these very targets' mean: 0 is perfect, 1 is the guess."""
    wide = wanted.astype(np.float64)
    return float(np.abs(predicted - wide).mean() / max(np.abs(wide - wide.mean()).mean(), 1e-12))
