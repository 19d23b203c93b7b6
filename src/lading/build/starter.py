"""A model's file to start from. It builds as it is, and comments mark the lines to replace."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from lading.errors import SpecError

_TEMPLATE = Template('''"""$class_name: four numbers to one of two labels. Replace the data first, then the network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lading import VARIANTS, Budget, ModelSpec, TensorSpec
from lading.spec import Array, Example

ROWS = {"train": 800, "valid": 100, "test": 1000}


class Network(nn.Module):
    """float32 (batch, 4) to the probability of each label (batch, 2)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.layers(features), 1)  # scaling and softmax belong inside, so that they are served too


class $class_name(ModelSpec):
    """Is the sum of four numbers positive?"""

    name = "$name"
    inputs = (TensorSpec(name="features", dtype="float32", shape=("batch", 4), description="what a client sends"),)
    outputs = (TensorSpec(name="sign", dtype="float32", shape=("batch", 2), labels=("negative", "positive")),)
    variants = tuple(variant for variant in VARIANTS if not variant.pruning)  # drop this line for a large network
    budget = Budget(min_score=0.9)  # no build passes with a lower score
    score_name = "accuracy"

    def build(self) -> nn.Module:
        return Network()

    def dataset(self, split: str) -> list[Example]:
        rng = np.random.default_rng(sorted(ROWS).index(split))  # your own data come here: inputs and targets in pairs
        rows = rng.normal(size=(ROWS[split], 4)).astype(np.float32)
        return [({"features": row}, {"sign": np.int64(row.sum() > 0)}) for row in rows]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return functional.nll_loss(outputs["sign"].clamp_min(1e-9).log(), targets["sign"])

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return float(np.mean(outputs["sign"].argmax(1) == targets["sign"]))
''')


def write_starter(file: Path) -> str:
    """Write a model's file. Its class and name follow from the file name.

    Returns:
        The import string of the model, ``file.py:Class``.

    Raises:
        SpecError: the file is there already, or its name makes no class.
    """
    if file.suffix != ".py" or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", file.stem):
        raise SpecError(f"{file}: a model's file is named with letters, digits and _, and ends with .py")
    class_name = "".join(word.capitalize() for word in file.stem.split("_"))
    text = _TEMPLATE.substitute(class_name=class_name, name=file.stem.lower().replace("_", "-"))
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x") as stream:
            stream.write(text)
    except FileExistsError:
        raise SpecError(f"{file} is there already, and is left as it is") from None
    return f"{file}:{class_name}"
