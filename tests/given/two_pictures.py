"""A model of two pictures and numbers: is the first picture brighter, with the numbers added to it?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lading.spec import Array, Evaluated, Example, TensorSpec, Variant

SIDE = 8
BRIGHTER = """
    l = Cast <to = 1> (left) r = Cast <to = 1> (right)
    lm = ReduceMean <keepdims = 0> (l, axes) rm = ReduceMean <keepdims = 0> (r, axes)
    n = ReduceSum <keepdims = 0> (numbers, last)
    d = Sub (lm, rm) difference_ = Add (d, n)
    difference = Unsqueeze (difference_, last)
"""


class TwoPictures(Evaluated):
    """The mean of one picture minus that of another, plus the sum of two numbers."""

    name = "two-pictures"
    inputs = (
        TensorSpec(name="left", dtype="uint8", shape=("batch", SIDE, SIDE, 3), content="image"),
        TensorSpec(name="right", dtype="uint8", shape=("batch", SIDE, SIDE, 3), content="image"),
        TensorSpec(name="numbers", dtype="float32", shape=("batch", 2)),
    )
    outputs = (TensorSpec(name="difference", dtype="float32", shape=("batch", 1)),)
    variants = (Variant(name="fp32", max_score_drop=0.0, required=True),)

    def dataset(self, split: str) -> list[Example]:
        rng = np.random.default_rng(len(split))
        found: list[Example] = []
        for _ in range(60):
            given: dict[str, Array] = {
                "left": np.full((SIDE, SIDE, 3), rng.integers(256), np.uint8),
                "right": np.full((SIDE, SIDE, 3), rng.integers(256), np.uint8),
                "numbers": rng.normal(size=2).astype(np.float32),
            }
            found.append((given, {"difference": wanted({name: array[None] for name, array in given.items()})[0]}))
        return found

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return float(-np.abs(outputs["difference"] - targets["difference"]).mean())


def wanted(inputs: Mapping[str, Array]) -> Array:
    """The answer to a batch: (batch, 1)."""
    means = [inputs[side].astype(np.float64).mean(axis=(1, 2, 3)) for side in ("left", "right")]
    return np.asarray((means[0] - means[1] + inputs["numbers"].sum(axis=1))[:, None], np.float32)
