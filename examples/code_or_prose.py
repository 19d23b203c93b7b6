"""Is a line code or prose? Bytes of any number, paired, embedded and averaged; learned from Python's own library."""

import ast
import importlib
import inspect
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from lading import VARIANTS, Budget, ModelSpec, TensorSpec
from lading.spec import Array, Example

FILES = {"train": "argparse inspect typing tarfile logging doctest", "valid": "ast difflib", "test": "unittest.mock"}


class PairBag(nn.Module):
    """uint8 (bytes,) of all texts and their owner (bytes,) to the probability of each kind (batch, 2)."""

    def __init__(self, buckets: int = 4096, width: int = 32) -> None:
        super().__init__()
        self.buckets, self.table, self.head = buckets, nn.Embedding(buckets, width), nn.Linear(width, 2)

    def forward(self, text: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
        before = nn.functional.pad(text[:-1].long() * (owner[1:] == owner[:-1]), (1, 0))  # 0 where a text begins
        pairs = self.table((text.long() * 257 + before) % self.buckets)
        kinds = nn.functional.pad(self.head(pairs), (0, 1), value=1.0)  # (bytes, 3), and a 1 that counts the bytes
        summed = torch.zeros(int(owner[-1].item()) + 1, 3).scatter_add(0, owner[:, None].expand(-1, 3), kinds)
        return torch.softmax(summed[:, :2] / summed[:, 2:], 1)


class CodeOrProse(ModelSpec):
    """A text is a ragged dim: requests are laid end to end, and the owner vector says whose each byte is."""

    name, score_name, budget = "code-or-prose", "balanced accuracy", Budget(min_score=0.75)
    variants = VARIANTS[:1]  # a table and one small layer: nothing to prune, and int8 is no faster
    inputs = (
        TensorSpec(name="text", dtype="uint8", shape=("bytes",), description="the bytes of one line in UTF-8"),
        TensorSpec(name="owner", dtype="int64", shape=("bytes",), owner_of="bytes"),
    )
    outputs = (TensorSpec(name="kind", dtype="float32", shape=("batch", 2), labels=("code", "prose")),)

    def build(self) -> nn.Module:
        return PairBag()

    def dataset(self, split: str) -> list[Example]:
        source = "\n".join(inspect.getsource(importlib.import_module(name)) for name in FILES[split].split())
        alone = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr)]  # docstrings, mostly
        prose = {n for a in alone if isinstance(a, ast.Constant) for n in range(a.lineno, (a.end_lineno or 0) + 1)}
        lines = enumerate((line.strip(' "').encode() for line in source.splitlines()), 1)
        return [
            ({"text": np.frombuffer(b, np.uint8)}, {"kind": np.array(n in prose, int)}) for n, b in lines if len(b) > 9
        ]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return nn.functional.nll_loss(outputs["kind"].clamp_min(1e-9).log(), targets["kind"])

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return float(np.mean([np.mean(outputs["kind"].argmax(1)[targets["kind"] == k] == k) for k in (0, 1)]))
