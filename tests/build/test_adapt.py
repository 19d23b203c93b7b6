"""What a module takes from the training data before it is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from lading.build.train.checkpoint import load_checkpoint
from lading.build.train.config import compose
from lading.build.train.train import train
from tests.given.tiny import TinyTable


class Centred(nn.Module):
    """Takes the training data's mean off its inputs."""

    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.linear = nn.Linear(4, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.linear(features - self.mean)
        return answer


class CentredTable(TinyTable):
    def build(self) -> nn.Module:
        return Centred()

    def adapt(self, module: nn.Module) -> None:
        module.mean = torch.from_numpy(mean_of_training())


def mean_of_training() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rows = np.stack([inputs["features"] for inputs, _ in TinyTable().dataset("train")])
    return np.asarray(rows.mean(axis=0), np.float32)


def test_statistics_of_the_training_data_travel_with_the_weights(tmp_path: Path) -> None:
    quick = ["data.workers=0", "trainer.progress=false", "logger.wandb=false", "trainer.max_steps=1"]
    spec = CentredTable()
    module, _ = load_checkpoint(spec, train(spec, compose("tests/given/tiny.py:TinyTable", quick), tmp_path))
    np.testing.assert_array_equal(module.get_buffer("mean").numpy(), mean_of_training())
