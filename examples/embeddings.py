"""Which pictures are alike? Each becomes a direction, and pictures of one shape point the same way."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lading import Budget, ModelSpec, Quantization, TensorSpec, Variant
from lading.spec import Array, Example

SIDE, DIMS = 32, 16
SHAPES = ("disc", "ring", "square", "frame", "cross", "rows", "columns", "diagonal")
COUNTS = {"train": 2400, "valid": 400, "test": 600}
SHARPNESS = 0.1
"""What a cosine is divided by in training: a smaller one looks at the nearest pictures alone."""


class Embedder(nn.Module):
    """uint8 (batch, 32, 32, 3) to float32 (batch, 16), each row of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 24, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(48, 64, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(2 * 64, DIMS)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        seen = self.features(picture.permute(0, 3, 1, 2).float() / 127.5 - 1)
        return functional.normalize(self.head(torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], 1)), dim=1)


class Embeddings(ModelSpec):
    """The answer is an embedding: a client compares two of them by their cosine."""

    name = "embeddings"
    description = "a picture of a shape as a direction of 16 numbers"
    inputs = (TensorSpec(name="picture", dtype="uint8", shape=("batch", SIDE, SIDE, 3), content="image"),)
    outputs = (TensorSpec(name="direction", dtype="float32", shape=("batch", DIMS), content="embedding"),)
    variants = (
        Variant(name="fp32", max_score_drop=0.0, required=True),
        Variant(name="int8", quantization=Quantization(method="static"), max_score_drop=0.03),
    )
    budget = Budget(min_score=0.9)
    score_name = "recall at 1"

    def build(self) -> nn.Module:
        return Embedder()

    def dataset(self, split: str) -> list[Example]:
        rng = np.random.default_rng(list(COUNTS).index(split))
        shapes = rng.integers(len(SHAPES), size=COUNTS[split])
        return [({"picture": draw(SHAPES[shape], rng)}, {"direction": shape}) for shape in shapes]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Every picture of the batch picks those of its own shape out of all others (Khosla and others, 2020)."""
        directions, shapes = outputs["direction"], targets["direction"]
        itself = torch.eye(len(shapes), dtype=torch.bool, device=shapes.device)
        picked = (directions @ directions.T / SHARPNESS).masked_fill(itself, -1e4).log_softmax(1)
        alike = ((shapes[:, None] == shapes) & ~itself).float()
        return -(picked * alike).sum() / alike.sum().clamp_min(1)

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        """Share of the pictures whose nearest other picture has the same shape."""
        directions, shapes = outputs["direction"], targets["direction"]
        if len(shapes) < 2:
            return 0.0
        cosine = directions @ directions.T
        np.fill_diagonal(cosine, -2)
        return float(np.mean(shapes[cosine.argmax(1)] == shapes))


def draw(shape: str, rng: np.random.Generator) -> Array:
    """A shape of one colour on another, at a random place: uint8 (32, 32, 3)."""
    y, x = np.mgrid[:SIDE, :SIDE] - rng.uniform(12, SIDE - 12, (2, 1, 1))
    size = rng.uniform(7, 10)
    far, flat = np.hypot(x, y), np.maximum(abs(x), abs(y))
    inside = {
        "disc": far < size,
        "ring": abs(far - size) < 2,
        "square": flat < size,
        "frame": abs(flat - size) < 2,
        "cross": (np.minimum(abs(x), abs(y)) < 2) & (flat < size),
        "rows": (flat < size) & (y % 6 < 3),
        "columns": (flat < size) & (x % 6 < 3),
        "diagonal": (flat < size) & (abs(x - y) < 3),
    }[shape]
    dark, light = rng.uniform(0, 100, 3), rng.uniform(150, 255, 3)
    back, front = (dark, light) if rng.random() < 0.5 else (light, dark)
    picture = np.where(inside[..., None], front, back) + rng.normal(0, 8, (SIDE, SIDE, 3))
    return np.asarray(np.clip(picture, 0, 255), np.uint8)
