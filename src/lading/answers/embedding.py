"""Embeddings: normalised vectors that are compared by their direction."""

from __future__ import annotations

import numpy as np

from lading.answers import AnswerKind, Directions, Floats
from lading.spec import Array, TensorSpec

UNIT = 1e-3
"""Most that the length of an embedding may differ from 1."""
AXES = 8
"""Principal directions that drift is watched along, at most."""


class Embedding(AnswerKind):
    """Float (batch, dims), each row of length 1. Its features are its projections on the principal directions of the
    reference data, and the length of what they leave over, as in the monitoring of processes (Jackson and Mudholkar,
    1979): a request unlike all others has a large rest."""

    name = "embedding"
    measure = "cosine"
    least = 0.99

    def problem(self, spec: TensorSpec) -> str | None:
        right = spec.dtype.startswith("float") and len(spec.shape) == 2 and spec.batched
        if not right or not isinstance(spec.shape[-1], int) or spec.shape[-1] < 2:
            return f"an embedding is a float tensor of shape (batch, dims), not {spec.dtype} {spec.shape}"
        return "an embedding has no labels, because its dims mean nothing alone" if spec.labels else None

    def broken(self, spec: TensorSpec, array: Array) -> tuple[int, str] | None:
        del spec
        lengths = np.linalg.norm(array.astype(np.float64), axis=1)
        wrong = np.abs(lengths - 1) > UNIT
        if not wrong.any():
            return None
        row = int(wrong.argmax())
        return row, (
            f"its length is {lengths[row]:.4g} and not 1: end forward with "
            "torch.nn.functional.normalize(x, dim=1), or leave out the content"
        )

    def similarity(self, spec: TensorSpec, expected: Array, got: Array) -> Floats:
        del spec
        one, other = (array.astype(np.float64) for array in (expected, got))
        lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        return np.asarray((one * other).sum(axis=1) / np.maximum(lengths, 1e-30))

    def features(self, spec: TensorSpec, row: Array, directions: Directions | None = None) -> dict[str, Array]:
        if directions is None:
            return {}
        centred = row.astype(np.float64) - np.asarray(directions.mean)
        axes = np.asarray(directions.axes)
        along = np.einsum("kd,d->k", axes, centred)  # not a matrix product, for the reason given in lading.drift.sketch
        rest = np.sqrt(max(0.0, float((centred**2).sum() - (along**2).sum())))
        return {
            **{f"{spec.name}.direction{place}": along[[place]] for place in range(len(along))},
            f"{spec.name}.rest": np.array([rest]),
        }

    def directions(self, rows: Floats) -> Directions | None:
        mean = rows.mean(axis=0)
        _, sizes, axes = np.linalg.svd(rows - mean, full_matrices=False)
        axes = axes[: min(AXES, int((sizes > 1e-6 * max(float(sizes[0]), 1e-30)).sum()))]
        if not len(axes):
            return None
        # A direction and its opposite are the same: the largest part is made positive, so that builds repeat.
        axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
        return Directions(mean=tuple(mean.tolist()), axes=tuple(tuple(axis.tolist()) for axis in axes))


KIND = Embedding()
