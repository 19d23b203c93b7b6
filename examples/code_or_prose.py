"""Is a line code or prose? A text model in one file, trained on the source of Python's own library."""

import ast
import importlib
import inspect
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from lading import VARIANTS, Budget, ModelSpec, TensorSpec
from lading.spec import Array, Example

MODULES = {
    "train": ("argparse", "inspect", "typing", "tarfile", "logging", "doctest"),
    "valid": ("ast", "difflib"),
    "test": ("unittest.mock",),
}
SHORTEST = 10
"""Lines with fewer bytes say too little."""


class PairBag(nn.Module):
    """Embed each pair of neighbouring bytes, and average over the text.

    uint8 (bytes,) of all texts and their owner int64 (bytes,) to the probability of each kind, float32 (batch, 2).
    """

    def __init__(self, buckets: int = 4096, width: int = 32) -> None:
        super().__init__()
        self.buckets = buckets
        self.table = nn.Embedding(buckets, width)
        self.head = nn.Linear(width, 2)

    def forward(self, text: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
        # The byte before each byte; 0 at the start of a text.
        same_text = owner[1:] == owner[:-1]
        before = nn.functional.pad(text[:-1].long() * same_text, (1, 0))
        pairs = (text.long() * 257 + before) % self.buckets
        scores = self.head(self.table(pairs))
        # Sum the scores of each text. A third column of ones counts its bytes.
        columns = nn.functional.pad(scores, (0, 1), value=1.0)
        texts = int(owner[-1].item()) + 1
        sums = torch.zeros(texts, 3).scatter_add(0, owner[:, None].expand(-1, 3), columns)
        return torch.softmax(sums[:, :2] / sums[:, 2:], 1)


class CodeOrProse(ModelSpec):
    """A text is a ragged dim: texts are joined end to end, and the owner vector assigns each byte to a text."""

    name = "code-or-prose"
    inputs = (
        TensorSpec(name="text", dtype="uint8", shape=("bytes",), description="the bytes of one line in UTF-8"),
        TensorSpec(name="owner", dtype="int64", shape=("bytes",), owner_of="bytes"),
    )
    outputs = (TensorSpec(name="kind", dtype="float32", shape=("batch", 2), labels=("code", "prose")),)
    variants = VARIANTS[:1]  # fp32 only: there is nothing to prune, and int8 is no faster for so small a layer
    budget = Budget(min_score=0.75)
    score_name = "balanced accuracy"

    def build(self) -> nn.Module:
        return PairBag()

    def dataset(self, split: str) -> list[Example]:
        examples: list[Example] = []
        # A line such as "return self" is in many modules. What was trained on is left out of the other splits.
        trained = set() if split == "train" else {given["text"].tobytes() for given, _ in self.dataset("train")}
        for module in MODULES[split]:
            source = inspect.getsource(importlib.import_module(module))
            prose = docstring_lines(source)
            for number, line in enumerate(source.splitlines(), start=1):
                text = line.strip(' "').encode()
                if len(text) >= SHORTEST and text not in trained:
                    kind = np.array(int(number in prose))
                    examples.append(({"text": np.frombuffer(text, np.uint8)}, {"kind": kind}))
        return examples

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return nn.functional.nll_loss(outputs["kind"].clamp_min(1e-9).log(), targets["kind"])

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        right = outputs["kind"].argmax(1) == targets["kind"]
        return float(np.mean([right[targets["kind"] == kind].mean() for kind in (0, 1)]))


def docstring_lines(source: str) -> set[int]:
    """Numbers of the lines that are docstrings, or other constants that stand alone."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found
