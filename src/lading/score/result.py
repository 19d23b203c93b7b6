"""The result of scoring: a column per output, one for its most likely label, and the position of the row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from lading.errors import SettingsError
from lading.score.scorer import Answers
from lading.score.source import Block
from lading.spec import Array, TensorSpec

LABEL = "_label"
FILE, ROW, ERROR = "file", "row", "error"


@dataclass(frozen=True)
class Result(ABC):
    """A format of the result. Can be pickled."""

    outputs: tuple[TensorSpec, ...]
    kept: tuple[pa.Field, ...]
    keep_errors: bool
    record: str
    """JSON with the model and artifact, for formats that can store it."""

    suffixes: ClassVar[tuple[str, ...]]

    @property
    def columns(self) -> list[str]:
        """The names of the result's columns, in order."""
        names = [FILE, ROW, *(field.name for field in self.kept)]
        for spec in self.outputs:
            names += [spec.name, spec.name + LABEL] if labelled(spec) else [spec.name]
        return [*names, ERROR] if self.keep_errors else names

    @abstractmethod
    def encode(self, block: Block, answers: Answers) -> Any:
        """Encode one block. Runs in a lane."""

    @abstractmethod
    def write_part(self, path: Path, blocks: Sequence[Any]) -> None:
        """Write the encoded blocks of one piece as one part."""

    @abstractmethod
    def join(self, parts: Sequence[Path], path: Path) -> tuple[int, int]:
        """Write all parts as one file.

        Returns:
            How many rows it has, and how many of them have no answer.
        """


def labelled(spec: TensorSpec) -> bool:
    """Whether a row of this output has one number per label."""
    return spec.labels is not None and spec.batched and len(spec.shape) == 2


def most_likely(spec: TensorSpec, rows: Array) -> list[str]:
    """The label of each row's largest entry."""
    assert spec.labels is not None
    return [spec.labels[index] for index in rows.argmax(axis=1)] if len(rows) else []


def refuse_doubles(columns: Sequence[str], keep: Sequence[str]) -> None:
    """Check that no two columns of a result have the same name.

    Raises:
        SettingsError: names the column, and who brings it.
    """
    for name in columns:
        if columns.count(name) > 1:
            who = f"--keep {name}" if name in keep else f"the model's output {name!r}"
            raise SettingsError(f"{who}: the result has a column of that name of its own")


def result_kind(path: Path, kinds: Sequence[type[Result]]) -> type[Result]:
    """The format for the suffix of a file.

    Raises:
        SettingsError: none.
    """
    for kind in kinds:
        if path.suffix.lower() in kind.suffixes:
            return kind
    known = ", ".join(suffix for kind in kinds for suffix in kind.suffixes)
    raise SettingsError(f"the result {path} must end with one of: {known}")
