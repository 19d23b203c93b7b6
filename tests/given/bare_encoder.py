"""A network like BERT with random weights, exported as a bare ONNX file, and its answers by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from tokenizers import Tokenizer
from torch import nn

from lading.build.export.cleanup import quiet
from lading.spec import Array
from tests.given.small_text import WORDS

LONGEST = 24
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
WIDTH = 16


class Encoder(nn.Module):
    """Tokens, mask and token types, int64 (batch, length) each, to scores (batch, 3) and a row a token.

    Args:
        rows: of the table of tokens.
        positions: rows of the table of positions.
        padding: the token that has no position, as in RoBERTa; ``None``: all have one.
    """

    def __init__(self, rows: int = len(WORDS), positions: int = LONGEST, padding: int | None = None) -> None:
        super().__init__()
        self.padding = padding
        self.words = nn.Embedding(rows, WIDTH)
        self.places = nn.Embedding(positions, WIDTH)
        self.kinds = nn.Embedding(2, WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.head = nn.Linear(WIDTH, 3)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        if self.padding is not None:
            counted = (input_ids != self.padding).long()
            places = counted.cumsum(1) * counted + self.padding
        hidden = self.words(input_ids) + self.places(places) + self.kinds(token_type_ids)
        scores = self.query(hidden) @ self.key(hidden).transpose(1, 2)
        scores = scores.masked_fill(attention_mask[:, None, :] == 0, -1e9)
        each = scores.softmax(-1) @ self.value(hidden)
        return self.head(each[:, 0]), each


class WithoutMask(nn.Module):
    """Tokens (batch, length) to the mean of their rows: what is filled up counts too."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS), WIDTH)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.words(input_ids)
        return rows.mean(1)


def write_encoder(
    path: Path, network: nn.Module | None = None, inputs: Sequence[str] = INPUTS, *, length: int | None = None
) -> Path:
    """Export a network by torch's older exporter, which takes a second instead of six.

    Args:
        path: of the file.
        network: default: an :class:`Encoder`.
        inputs: names of its inputs.
        length: of the texts, if the graph shall take no other.
    """
    torch.manual_seed(0)
    network = (network or Encoder()).eval()
    ids = torch.ones((2, length or 5), dtype=torch.int64)
    given = {"input_ids": ids, "attention_mask": ids, "token_type_ids": ids * 0}
    dims = {0: "batch"} if length else {0: "batch", 1: "length"}
    outputs = ["scores", "each"][: 2 if isinstance(network, Encoder) else 1]
    with quiet():
        torch.onnx.export(
            network,
            tuple(given.get(name, ids) for name in inputs),
            str(path),
            dynamo=False,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=dict.fromkeys(inputs, dims) | {outputs[0]: {0: "batch"}},
        )
    return path


def by_hand(graph: Path, tokenizer: Path, text: str) -> list[Array]:
    """What the tokenizer and ONNX Runtime answer to one text alone, batch dim included."""
    tokens = Tokenizer.from_file(str(tokenizer))
    tokens.no_padding()
    ids = np.array([tokens.encode(text).ids])
    session = ort.InferenceSession(graph)
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return list(session.run(None, {node.name: given[node.name] for node in session.get_inputs()}))
