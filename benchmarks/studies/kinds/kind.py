"""What the study needs of a kind: its graph or its network, some examples, and the answers of its own library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lading.spec import Array, TensorSpec

if TYPE_CHECKING:
    from torch import nn

SPLITS = {"train": slice(0, 24), "valid": slice(24, 48), "test": slice(48, None)}
EXAMPLES = 148
"""Examples of a kind with classes. A hundred of them can show that no more than 5 % are lost."""
FEW = 72
"""Examples of a kind whose answers are compared number by number."""
CLASSES = 4


@dataclass(frozen=True)
class Network:
    """A torch module whose weights are brought in by `lading import`."""

    build: Callable[[], nn.Module]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    examples: Mapping[str, Array]
    """By input, along the first dim."""
    classes: Array | None = None
    """The right class of each example; then a linear head is fitted, so that the answers mean something."""


@dataclass(frozen=True)
class Graph:
    """An ONNX file that goes in by `lading pack`."""

    file: Path
    examples: Mapping[str, Array] | None
    """By input, along the first dim; ``None``: made-up ones are used."""
    answer: Callable[[Mapping[str, Array]], Sequence[Array]] | None = None
    """The library's own answers; ``None``: the file is the library's model, so ONNX Runtime's to the file."""


@dataclass(frozen=True)
class Kind:
    """One row of the table."""

    name: str
    library: str
    make: Callable[[Path], Network | Graph]
    """Takes an empty folder. Raises ImportError or FileNotFoundError if its package is not installed."""
