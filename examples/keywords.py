"""Four sounds of half a second: a rising, a falling and a steady tone, and noise. They are made here."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lading import Budget, ModelSpec, Quantization, TensorSpec, Variant
from lading.spec import Array, Example

RATE, SAMPLES = 8000, 4000
WORDS = ("up", "down", "steady", "noise")
COUNTS = {"train": 1200, "valid": 400, "test": 800}


class KeywordNet(nn.Module):
    """float32 (batch, 4000) to the probability of each word (batch, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 32, 64, stride=16)
        self.second = nn.Conv1d(32, 48, 9, stride=3)
        self.third = nn.Conv1d(48, 48, 9, stride=3)
        self.head = nn.Linear(48 * 2, len(WORDS))

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        # Loudness is no part of a word, so it is divided out inside the model.
        level = samples.square().mean(1, keepdim=True).add(1e-8).sqrt()
        heard = (samples / level)[:, None]
        features = self.third(self.second(self.first(heard).relu()).relu()).relu()
        return torch.softmax(self.head(torch.cat([features.mean(2), features.amax(2)], 1)), 1)


class Keywords(ModelSpec):
    """Which sound is it?"""

    name = "keywords"
    description = "a sound of half a second"
    inputs = (TensorSpec(name="sound", dtype="float32", shape=("batch", SAMPLES), content="audio", rate=RATE),)
    outputs = (TensorSpec(name="word", dtype="float32", shape=("batch", len(WORDS)), labels=WORDS),)
    variants = (
        Variant(name="fp32", max_score_drop=0.0, required=True),
        Variant(name="int8", quantization=Quantization(method="static"), max_score_drop=0.02),
    )
    budget = Budget(min_score=0.95)
    score_name = "accuracy"

    def build(self) -> nn.Module:
        return KeywordNet()

    def dataset(self, split: str) -> list[Example]:
        rng = np.random.default_rng(list(COUNTS).index(split))
        words = rng.integers(len(WORDS), size=COUNTS[split])
        return [({"sound": sound(WORDS[word], rng)}, {"word": word}) for word in words]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return functional.nll_loss(outputs["word"].clamp_min(1e-9).log(), targets["word"])

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return float(np.mean(outputs["word"].argmax(1) == targets["word"]))


def sound(word: str, rng: np.random.Generator) -> Array:
    """One recording: float32 (4000,), from -1 to 1."""
    noise = rng.normal(0, 0.01, SAMPLES)
    if word == "noise":
        heard = rng.normal(0, 0.2, SAMPLES)
    else:
        low = rng.uniform(300, 800)
        high = low * rng.uniform(1.8, 2.5)
        begin, end = {"up": (low, high), "down": (high, low), "steady": (low, low)}[word]
        heard = 0.4 * np.sin(2 * np.pi * np.cumsum(np.linspace(begin, end, SAMPLES)) / RATE)
    return np.asarray(np.clip(rng.uniform(0.2, 1) * heard + noise, -1, 1), np.float32)
