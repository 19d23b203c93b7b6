"""Is it the same dot? Two pictures, and a number: how many pixels the camera has moved between them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lading import Budget, ModelSpec, Quantization, TensorSpec, Variant
from lading.spec import Array, Example

SIDE, MOST = 32, 8
ANSWERS = ("different", "same")
COUNTS = {"train": 1600, "valid": 400, "test": 800}
PICTURE = TensorSpec(name="before", dtype="uint8", shape=("batch", SIDE, SIDE, 3), content="image")


class SameDot(nn.Module):
    """Two pictures uint8 (batch, 32, 32, 3) and pixels (batch, 1) to the probability of each answer (batch, 2)."""

    columns: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Conv2d(3, 12, 5, padding=2)
        self.compared = nn.Sequential(nn.Conv2d(12, 24, 5, stride=2), nn.ReLU(), nn.Conv2d(24, 24, 3, stride=2))
        self.head = nn.Linear(2 * 24, 2)
        self.register_buffer("columns", torch.arange(SIDE).float(), persistent=False)

    def forward(self, before: torch.Tensor, after: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        first, second = (self.seen(one.permute(0, 3, 1, 2).float() / 127.5 - 1).relu() for one in (before, after))
        # The first picture as it would be after the camera has moved: each column between two of the old ones.
        apart = self.columns - self.columns[:, None] - moved[:, :, None]
        shifted = first @ (1 - apart.abs()).relu()[:, None]
        differs = self.compared((shifted - second).abs()).relu()
        return torch.softmax(self.head(torch.cat([differs.mean((2, 3)), differs.amax((2, 3))], 1)), 1)


class TwoPictures(ModelSpec):
    """A request has two files and a number."""

    name = "two-pictures"
    description = "whether two pictures, taken a few pixels apart, show the same dot"
    inputs = (
        PICTURE,
        PICTURE.model_copy(update={"name": "after"}),
        TensorSpec(name="moved", dtype="float32", shape=("batch", 1), unit="pixels", minimum=-MOST, maximum=MOST),
    )
    outputs = (TensorSpec(name="answer", dtype="float32", shape=("batch", 2), labels=ANSWERS),)
    variants = (
        Variant(name="fp32", max_score_drop=0.0, required=True),
        Variant(name="int8", quantization=Quantization(method="static"), max_score_drop=0.02),
    )
    budget = Budget(min_score=0.95)
    score_name = "accuracy"

    def build(self) -> nn.Module:
        return SameDot()

    def dataset(self, split: str) -> list[Example]:
        rng = np.random.default_rng(list(COUNTS).index(split))
        answers = rng.integers(len(ANSWERS), size=COUNTS[split])
        return [(pair(ANSWERS[answer], rng), {"answer": answer}) for answer in answers]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return functional.nll_loss(outputs["answer"].clamp_min(1e-9).log(), targets["answer"])

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return float(np.mean(outputs["answer"].argmax(1) == targets["answer"]))


def pair(answer: str, rng: np.random.Generator) -> dict[str, Array]:
    """One request: ``before`` and ``after``, uint8 (32, 32, 3), and ``moved``, float32 (1,).

    A different dot is at least four pixels from where the same one would be.
    """
    x, y = rng.uniform(12, SIDE - 12), rng.uniform(8, SIDE - 8)
    moved = round(float(rng.uniform(-MOST, MOST)), 1)
    off = 0.0 if answer == "same" else float(rng.choice([-1, 1]) * rng.uniform(4, 8))
    after = float(np.clip(x + moved + off, 3, SIDE - 3))
    if answer == "different" and abs(after - x - moved) < 4:
        after = x + moved - np.sign(off) * 5
    return {
        "before": dot(x, y, rng),
        "after": dot(after, y, rng),
        "moved": np.array([moved], np.float32),
    }


def dot(x: float, y: float, rng: np.random.Generator) -> Array:
    """A bright dot on a dark ground: uint8 (32, 32, 3)."""
    down, right = np.mgrid[:SIDE, :SIDE]
    near = np.exp(-((right - x) ** 2 + (down - y) ** 2) / 8)[..., None]
    ground = rng.uniform(0, 60, 3) + rng.normal(0, 6, (SIDE, SIDE, 3))
    return np.asarray(np.clip(ground + near * 180, 0, 255), np.uint8)
