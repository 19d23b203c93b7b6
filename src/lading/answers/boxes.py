"""Boxes of a detector: a fixed number of rows for each picture, of which those with a score of 0 are padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from lading.answers import AnswerKind, Directions, Floats, View
from lading.spec import Array, TensorSpec

COLUMNS = 6
SURE = 0.5
"""Score from which on a box counts for drift."""
_MATCHED = 0.5
"""Overlap from which on two boxes are of the same thing."""
_TIE = 0.99
"""Overlap from which on two boxes of equal score are the same box in another row."""
_FAR = 1.0
"""A box may reach this far over the edge, in widths and heights of the picture. Pixels would reach further."""
_EPSILON = 1e-3
_PLACES = 6


class Boxes(AnswerKind):
    """Float (batch, boxes, 6): left, top, right and bottom as shares of the picture's width and height, the score from
    0 to 1, and the index of the class. The graph fills what it does not find with zeros, so requests can be batched."""

    name = "boxes"
    measure = "IoU"
    least = 0.75

    def problem(self, spec: TensorSpec) -> str | None:
        right = spec.dtype.startswith("float") and len(spec.shape) == 3 and spec.batched and spec.shape[2] == COLUMNS
        if not right or not isinstance(spec.shape[1], int):
            return (
                f"boxes are a float tensor of shape (batch, boxes, {COLUMNS}) with a fixed number of boxes: left, top, "
                f"right, bottom, score, class; not {spec.dtype} {spec.shape}"
            )
        return None if spec.classes else "boxes need classes=, the names of what they show"

    def broken(self, spec: TensorSpec, array: Array) -> tuple[int, str] | None:
        wide = array.astype(np.float64)
        score, of = wide[..., 4], wide[..., 5]
        used = score != 0
        low, high = wide[..., :2], wide[..., 2:4]
        faults = {
            "a score is not from 0 to 1": (score < 0) | (score > 1 + _EPSILON),
            f"a class is not the index of one of {len(spec.classes or ())}": used
            & ((of != np.round(of)) | (of < 0) | (of >= len(spec.classes or ()))),
            "a box ends before it begins: its columns are left, top, right, bottom": used
            & (low > high + _EPSILON).any(axis=-1),
            "a box is far outside of the picture: divide pixels by its width and height": used
            & ((wide[..., :4] < -_FAR) | (wide[..., :4] > 1 + _FAR)).any(axis=-1),
        }
        for why, wrong in faults.items():
            if wrong.any():
                return int(wrong.any(axis=1).argmax()), why
        return None

    def similarity(self, spec: TensorSpec, expected: Array, got: Array) -> Floats:
        """Overlap of the boxes that are in both, over all boxes, each weighed by its score: a box that is barely above
        a threshold in one answer and below it in the other counts as little as it should."""
        del spec
        return np.array([_alike(one, other) for one, other in zip(expected, got, strict=True)], np.float64)

    def aligned(self, spec: TensorSpec, expected: Array, got: Array) -> Array:
        del spec
        result = got.copy()
        for row, (one, other) in enumerate(zip(expected, got, strict=True)):
            places = dict(_matched(one, other, _TIE))
            rest = iter(sorted(set(range(len(other))) - set(places.values())))
            order = [places[place] if place in places else next(rest) for place in range(len(one))]
            result[row] = other[order]
        return np.asarray(result)

    def features(self, spec: TensorSpec, row: Array, directions: Directions | None = None) -> dict[str, Array]:
        del directions
        wide = row.astype(np.float64)
        sure = wide[wide[:, 4] >= SURE]
        found: dict[str, Array] = {f"{spec.name}.count": np.array([float(len(sure))])}
        if len(sure):
            sizes = np.clip(sure[:, 2:4] - sure[:, :2], 0, None)
            found |= {
                f"{spec.name}.score": sure[:, 4],
                f"{spec.name}.area": sizes[:, 0] * sizes[:, 1],
                f"{spec.name}.class": np.clip(sure[:, 5], 0, len(spec.classes or ()) - 1).astype(np.int64),
            }
        return found

    def labels(self, spec: TensorSpec) -> dict[str, tuple[str, ...]]:
        return {f"{spec.name}.class": spec.classes or ()}

    def of_photo(self, spec: TensorSpec, row: Array, view: View) -> Array:
        """Boxes as shares of the photo, cut off at its edges. One that is outside of it altogether becomes padding."""
        del spec
        wide = row.astype(np.float64)
        sides, edges = np.array([view.right - view.left, view.bottom - view.top]), np.array([view.left, view.top])
        wide[:, :4] = (wide[:, :4].reshape(-1, 2, 2) * sides + edges).clip(0, 1).reshape(-1, 4)
        gone = (wide[:, :2] >= wide[:, 2:4]).any(axis=1) & (row[:, :2] < row[:, 2:4]).all(axis=1)
        wide[(row[:, 4] == 0) | gone] = 0
        return wide.astype(row.dtype)

    def shown(self, spec: TensorSpec, row: Array) -> list[dict[str, Any]]:
        """The boxes without padding, the highest score first."""
        names = spec.classes or ()
        wide = row[row[:, 4] > 0].astype(np.float64)
        return [
            {"class": names[int(box[5])], "score": round(box[4], _PLACES), "box": [round(x, _PLACES) for x in box[:4]]}
            for box in wide[np.argsort(-wide[:, 4], kind="stable")].tolist()
            if 0 <= box[5] < len(names)
        ]


def overlaps(one: Array, other: Array) -> Floats:
    """Intersection over union of boxes (n, 4) and (m, 4): float64 (n, m)."""
    left, right = one[:, None, :4].astype(np.float64), other[None, :, :4].astype(np.float64)
    sides = np.clip(np.minimum(left[..., 2:], right[..., 2:]) - np.maximum(left[..., :2], right[..., :2]), 0, None)
    shared = sides[..., 0] * sides[..., 1]
    area = [np.prod(np.clip(box[..., 2:4] - box[..., :2], 0, None), axis=-1) for box in (left, right)]
    return np.asarray(shared / np.maximum(area[0] + area[1] - shared, 1e-12))


def _matched(one: Array, other: Array, least: float) -> list[tuple[int, int]]:
    """Pairs of boxes of one class that overlap, the best pair first; each box is in one pair at most."""
    same = (one[:, None, 5] == other[None, :, 5]) & (one[:, None, 4] > 0) & (other[None, :, 4] > 0)
    shared = np.where(same, overlaps(one, other), 0.0)
    pairs: list[tuple[int, int]] = []
    while shared.size and shared.max() >= least:
        place = np.unravel_index(int(shared.argmax()), shared.shape)
        pairs.append((int(place[0]), int(place[1])))
        shared[place[0], :] = shared[:, place[1]] = 0.0
    return pairs


def _alike(one: Array, other: Array) -> float:
    pairs = _matched(one, other, _MATCHED)
    shared = overlaps(one, other)
    weights = [max(float(one[first, 4]), float(other[second, 4])) for first, second in pairs]
    both = sum(weight * shared[pair] for weight, pair in zip(weights, pairs, strict=True))
    alone = float(one[:, 4].sum(dtype=np.float64) + other[:, 4].sum(dtype=np.float64)) - sum(
        float(one[first, 4]) + float(other[second, 4]) for first, second in pairs
    )
    total = sum(weights) + alone
    return float(both / total) if total > 1e-12 else 1.0


KIND = Boxes()
