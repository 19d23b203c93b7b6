"""Handwritten digits: scikit-learn's 1797 pictures of 8 x 8 pixels, and a network of two convolutions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from lading import VARIANTS, Budget, ModelSpec, TensorSpec
from lading.spec import Array, Example

SPLITS = {"train": slice(0, 1100), "valid": slice(1100, 1350), "test": slice(1350, None)}


class DigitNet(nn.Module):
    """uint8 (batch, 8, 8) to the probability of each digit (batch, 10)."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, 2 * channels, 3, padding=1, stride=2)
        self.head = nn.Linear(2 * channels * 4 * 4, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        # Scaling and softmax are part of the model: clients send raw pixels and get probabilities.
        ink = pixels[:, None].float() / 16
        features = self.second(self.first(ink).relu()).relu()
        return torch.softmax(self.head(features.flatten(1)), 1)


class Digits(ModelSpec):
    """Which digit is it?"""

    name = "digits"
    description = "a handwritten digit in 8 x 8 pixels"
    inputs = (TensorSpec(name="pixels", dtype="uint8", shape=("batch", 8, 8), minimum=0, maximum=16),)
    outputs = (TensorSpec(name="digit", dtype="float32", shape=("batch", 10), labels=tuple("0123456789")),)
    variants = tuple(variant for variant in VARIANTS if not variant.pruning)  # too small to be worth pruning
    budget = Budget(min_score=0.95)
    score_name = "accuracy"

    def build(self) -> nn.Module:
        return DigitNet()

    def dataset(self, split: str) -> list[Example]:
        images, digits = load_digits(return_X_y=True)
        chosen = np.random.default_rng(0).permutation(len(digits))[SPLITS[split]]
        pixels = images[chosen].reshape(-1, 8, 8).astype(np.uint8)
        return [({"pixels": image}, {"digit": digit}) for image, digit in zip(pixels, digits[chosen], strict=True)]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return functional.nll_loss(outputs["digit"].clamp_min(1e-9).log(), targets["digit"])

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return float(np.mean(outputs["digit"].argmax(1) == targets["digit"]))
