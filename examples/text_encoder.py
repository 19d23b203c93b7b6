"""Is a line code or prose? A transformer encoder on the tokens of the line, in one file, with its own tokenizer."""

import ast
import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn

from lading import Budget, ModelSpec, Padding, Quantization, TensorSpec, Variant
from lading.content.text import tokenize
from lading.files import write_atomically
from lading.spec import Array, Example

MODULES = {
    "train": ("argparse", "inspect", "typing", "tarfile", "logging", "doctest"),
    "valid": ("ast", "difflib"),
    "test": ("unittest.mock",),
}
SHORTEST = 10
"""Lines with fewer characters say too little."""
LONGEST = 64
"""Tokens of a line; longer lines are cut."""
TOKENIZER = Path(__file__).with_name("text_encoder.tokenizer.json")


class Encoder(nn.Module):
    """Attention over tokens int64 (batch, tokens) with their mask, to probabilities float32 (batch, 2)."""

    def __init__(self, vocabulary: int = 2000, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(LONGEST, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(layers))
        self.head = nn.Linear(width, 2)

    def forward(self, text: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.tokens(text) + self.places(torch.arange(text.shape[1], device=text.device))
        for layer in self.layers:
            hidden = layer(hidden, mask)
        real = mask[:, :, None].float()
        return torch.softmax(self.head((hidden * real).sum(1) / real.sum(1)), 1)


class Layer(nn.Module):
    """Attention to the tokens that the mask lets through, and two linear layers."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = hidden.shape
        parts = self.query_key_value(self.before(hidden)).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(-1, -2) / (width // self.heads) ** 0.5
        scores = scores.masked_fill(mask[:, None, None, :] == 0, -1e4)
        seen = (torch.softmax(scores, -1) @ value).transpose(1, 2).reshape(batch, tokens, width)
        hidden = hidden + self.joined(seen)
        changed: torch.Tensor = self.narrow(nn.functional.gelu(self.wide(self.between(hidden))))
        return hidden + changed


class TextEncoder(ModelSpec):
    """A request carries a string. The server makes tokens of it, and the mask of the texts that share a run."""

    name = "text-encoder"
    inputs = (
        TensorSpec(
            name="text",
            dtype="int64",
            shape=("batch", "tokens"),
            content="text",
            tokenizer=TOKENIZER.name,
            padding=Padding(max_length=LONGEST, truncate=True),
            description="one line",
        ),
        TensorSpec(name="mask", dtype="int64", shape=("batch", "tokens"), mask_of="tokens"),
    )
    outputs = (TensorSpec(name="kind", dtype="float32", shape=("batch", 2), labels=("code", "prose")),)
    variants = (
        Variant(name="fp32", max_score_drop=0.0, required=True),
        Variant(name="int8-dynamic", quantization=Quantization(method="dynamic"), max_score_drop=0.02),
    )
    budget = Budget(min_score=0.75)
    score_name = "balanced accuracy"

    def __init__(self) -> None:
        if not TOKENIZER.is_file():
            write_atomically(TOKENIZER, trained_tokenizer([line for line, _ in lines("train")]))

    def build(self) -> nn.Module:
        return Encoder()

    def dataset(self, split: str) -> list[Example]:
        # A line such as "return self" is in many modules. What was trained on is left out of the other splits.
        trained = set() if split == "train" else {line for line, _ in lines("train")}
        return [
            ({"text": tokenize(self.inputs[0], line)}, {"kind": np.array(int(prose))})
            for line, prose in lines(split)
            if line not in trained
        ]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return nn.functional.nll_loss(outputs["kind"].clamp_min(1e-9).log(), targets["kind"])

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        right = outputs["kind"].argmax(1) == targets["kind"]
        return float(np.mean([right[targets["kind"] == kind].mean() for kind in (0, 1)]))


def trained_tokenizer(texts: list[str]) -> str:
    """A ``tokenizer.json`` of word pieces. A published model comes with such a file."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=2000, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer.to_str()


def lines(split: str) -> list[tuple[str, bool]]:
    """Lines of a split, and whether each is prose."""
    found: list[tuple[str, bool]] = []
    for module in MODULES[split]:
        source = inspect.getsource(importlib.import_module(module))
        prose = docstring_lines(source)
        for number, line in enumerate(source.splitlines(), start=1):
            text = line.strip(' "')
            if len(text) >= SHORTEST:
                found.append((text, number in prose))
    return found


def docstring_lines(source: str) -> set[int]:
    """Numbers of the lines that are docstrings, or other constants that stand alone."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found
