"""All features of a request as one vector, and a sketch of many such vectors that can be merged.

The maximum mean discrepancy of two samples is the distance between their means in a feature space; random Fourier
features (Rahimi and Recht 2007) make that space a few dozen dims wide, so one mean vector represents a window.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator

from lading.spec import Frozen

DIMS = 128
_SEED = 20_07
_CLIP = 6.0  # standard deviations, so that one extreme value does not hide all others


class Joint(Frozen):
    """The reference's vectors: how to scale a vector, and the mean of their random Fourier features."""

    model_config = ConfigDict(allow_inf_nan=False)

    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    bandwidth: float = Field(gt=0)
    """Bandwidth of the Gaussian kernel: the median distance between two vectors of the reference, as is usual."""
    sketch: Annotated[tuple[float, ...], Field(min_length=DIMS, max_length=DIMS)]

    @model_validator(mode="after")
    def _same_dims(self) -> Joint:
        if len(self.mean) != len(self.std):
            raise ValueError(f"there are {len(self.mean)} means and {len(self.std)} standard deviations")
        return self

    @classmethod
    def fit(cls, vectors: NDArray[np.float64]) -> Joint:
        """Summarise vectors, float64 (examples, dims)."""
        mean, std = vectors.mean(axis=0), vectors.std(axis=0)
        std[std < 1e-9] = 1.0
        scaled = np.clip((vectors - mean) / std, -_CLIP, _CLIP)
        rng = np.random.default_rng(_SEED)
        left, right = (scaled[rng.integers(len(scaled), size=2_000)] for _ in range(2))
        bandwidth = max(float(np.median(np.linalg.norm(left - right, axis=1))), 1e-3)
        sketch = _fourier(scaled, bandwidth).mean(axis=0)
        return cls(mean=tuple(mean), std=tuple(std), bandwidth=bandwidth, sketch=tuple(sketch))

    def features(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Random Fourier features, float64 (examples, 128), of vectors (examples, dims)."""
        scaled = np.clip((vectors - np.asarray(self.mean)) / np.asarray(self.std), -_CLIP, _CLIP)
        return _fourier(scaled, self.bandwidth)


def mmd(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """Squared maximum mean discrepancy of two mean vectors of random Fourier features (dims,)."""
    return float(((current - reference) ** 2).sum())


def _fourier(scaled: NDArray[np.float64], bandwidth: float) -> NDArray[np.float64]:
    directions = _directions(scaled.shape[1]) / bandwidth
    # Not a matrix product: OpenBLAS allocates 32 MB for the first one, and the server has no other.
    angles = np.einsum("nd,dk->nk", scaled, directions)
    return np.asarray(np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / np.sqrt(DIMS / 2))


@lru_cache(maxsize=64)
def _directions(dims: int) -> NDArray[np.float64]:
    # The only generator with a stream that numpy never changes (NEP 19). A sketch is read by other numpy versions.
    return np.random.RandomState(_SEED).standard_normal((dims, DIMS // 2))
