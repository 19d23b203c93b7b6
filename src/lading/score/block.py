"""What scoring reads: pieces, which are written whole or not at all, and blocks, which a lane takes at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lading.spec import Array, TensorSpec


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows that become one part of the result."""

    number: int
    files: tuple[str, ...]
    """Paths inside the input: one of a table, or a picture a row."""
    first: int
    """Number of its first row in the file; of pictures, in the whole list."""
    rows: int
    group: int = 0
    """Parquet: its row group."""
    start: int = 0
    """Parquet: its first row in the row group. JSON lines: the byte of the file at which it begins."""


class Block(ABC):
    """Rows that were read and not yet decoded.

    Args:
        specs: the model's inputs.
        files: the file of each row, or the one of all.
        first: number of the first row.
    """

    unit: ClassVar[str] = "row"
    base: ClassVar[int] = 0
    """What people count this unit from."""

    def __init__(self, specs: Sequence[TensorSpec], files: Sequence[str], first: int) -> None:
        self.specs = specs
        self.first = first
        self._files = files

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def row(self, index: int) -> dict[str, Array]:
        """One row as a request's inputs: batch dim included, owner vectors left out.

        Raises:
            RequestError: the row does not hold what the model takes.
        """

    def rows(self) -> list[dict[str, Array]]:
        """All rows, as :meth:`row` gives each.

        Raises:
            RequestError: one of them does not hold what the model takes.
        """
        return [self.row(index) for index in range(len(self))]

    def stack(self) -> dict[str, Array] | None:
        """All rows as one batch, or ``None`` when this kind of block is better read row by row.

        Raises:
            RequestError: one of them does not hold what the model takes.
        """
        return None

    def kept(self) -> Mapping[str, Any]:
        """The columns that are carried over to the result, as lists or Arrow arrays; null where a row has no value."""
        return {}

    @property
    def files(self) -> list[str]:
        """The file of each row."""
        return list(self._files) if len(self._files) == len(self) else [self._files[0]] * len(self)

    def where(self, index: int) -> str:
        """A row's place, for a message: ``orders.parquet, row 17``."""
        return f"{self.files[index]}, {self.unit} {self.first + index + self.base}"
