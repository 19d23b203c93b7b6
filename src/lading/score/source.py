"""The input to score: a Parquet or CSV file or a folder of them, JSON lines, or a folder of encoded files."""

from __future__ import annotations

import difflib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from lading.errors import DataError
from lading.spec import Array, TensorSpec


@dataclass(frozen=True)
class Source(ABC):
    """Files of one kind. Can be pickled: open files are not part of it."""

    root: Path
    """Folder that the paths are relative to."""
    files: tuple[str, ...]
    specs: tuple[TensorSpec, ...]
    """The model's inputs."""
    keep: tuple[str, ...] = ()
    """Columns to copy to the result."""
    aside: ClassVar[bool] = False
    """In a folder with files of another kind, those of this one are left out: they are about the others."""

    @classmethod
    @abstractmethod
    def suffixes(cls) -> tuple[str, ...]:
        """File name suffixes of this kind, lower case."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """Name of the kind for messages, in the plural."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names that a row must have: the model's inputs except owner vectors, which scoring fills in."""
        return tuple(spec.name for spec in self.specs if not spec.optional)

    def taken(self, present: Sequence[str]) -> dict[str, str]:
        """The columns to read of those that a file has, and the names that the model knows them by.

        An input with labels is one column, or a column per label. A column may have an input's alias.
        """
        found: dict[str, str] = {}
        for spec in self.specs:
            if spec.optional:
                continue
            whole = spec.name not in present and spec.alias in present
            if spec.name in present or whole or not any(column.name in present for column in spec.columns):
                found[str(spec.alias) if whole else spec.name] = spec.name
            else:
                found |= {column.name: column.name for column in spec.columns}
        return found

    @abstractmethod
    def check(self) -> None:
        """Check the files against the model's inputs, before the first row is scored.

        Raises:
            DataError: names the file, the row where there is one, and the column.
        """

    @abstractmethod
    def pieces(self, part_rows: int) -> list[Piece]:
        """Split the rows, in order, into pieces of at most ``part_rows``."""

    @abstractmethod
    def blocks(self, pieces: Sequence[Piece], block_rows: int) -> Iterator[tuple[Piece, Block]]:
        """Read pieces in order, each as blocks of at most ``block_rows`` rows."""

    @abstractmethod
    def kept_fields(self) -> list[pa.Field]:
        """Names and types of the columns to copy."""

    def tasks(self, pieces: Sequence[Piece]) -> list[list[Piece]]:
        """Pieces that one worker should read together. Separately, some would be read twice."""
        return [[piece] for piece in pieces]

    def fingerprint(self) -> str:
        """A hash of the files' names, sizes and modification times."""
        digest = hashlib.sha256()
        for name in self.files:
            status = (self.root / name).stat()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def refuse_missing(self, where: str, present: Sequence[str]) -> None:
        """Check that a file or row has all required columns.

        Raises:
            DataError: names the column, and one with a similar name if there is one.
        """
        taken = self.taken(present)
        for name in (*taken, *self.keep):
            if name in present:
                continue
            near = difflib.get_close_matches(name, [other for other in present if other not in taken], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            needed = f"the model takes {', '.join(self.columns)}" if name in taken else "--keep names it"
            raise DataError(f"{where} has no column {name!r} ({needed}); its columns are: {', '.join(present)}{hint}")


def find_files(path: Path, kinds: Sequence[type[Source]]) -> tuple[type[Source], Path, tuple[str, ...]]:
    """Find the kind of input at a path.

    Files whose name starts with a dot or an underscore, as Spark's markers do, are left out, and so are those of other
    suffixes, and CSV files beside files of another kind.

    Returns:
        The kind, the folder, and the files inside it in the order of their names.

    Raises:
        DataError: nothing is there, or files of several kinds.
    """
    by_suffix = {suffix: kind for kind in kinds for suffix in kind.suffixes()}
    known = ", ".join(by_suffix)
    if path.is_file():
        kind = by_suffix.get(path.suffix.lower())
        if kind is None:
            raise DataError(f"{path} is of no kind that can be scored ({known}); unpack it first if it is compressed")
        return kind, path.parent, (path.name,)
    if not path.is_dir():
        raise DataError(f"there is no file or folder {path}")
    found: dict[type[Source], list[str]] = {}
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        if file.suffix.lower() in by_suffix and not any(part.startswith((".", "_")) for part in name.parts):
            found.setdefault(by_suffix[file.suffix.lower()], []).append(name.as_posix())
    if not found:
        raise DataError(f"the folder {path} holds no file of a kind that can be scored ({known})")
    if len(found) > 1:
        found = {kind: names for kind, names in found.items() if not kind.aside}
    if len(found) > 1:
        examples = " and ".join(f"{names[0]!r}" for names in found.values())
        raise DataError(f"the folder {path} holds files of several kinds, {examples}: score them one after another")
    kind, names = next(iter(found.items()))
    return kind, path, tuple(names)


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows that become one part of the result."""

    number: int
    files: tuple[str, ...]
    """Paths inside the input: one table, or one encoded file per row."""
    first: int
    """Number of its first row in the file; for encoded files, in the whole list."""
    rows: int
    group: int = 0
    """Parquet: its row group."""
    start: int = 0
    """Parquet: its first row in the row group. JSON lines: its first byte in the file."""


class Block(ABC):
    """Rows that were read but not decoded yet.

    Args:
        specs: the model's inputs.
        files: the file of each row, or the one of all.
        first: number of the first row.
    """

    unit: ClassVar[str] = "row"
    base: ClassVar[int] = 0
    """Number of the first row in messages."""

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
        """All rows, as :meth:`row` returns them.

        Raises:
            RequestError: one of them does not hold what the model takes.
        """
        return [self.row(index) for index in range(len(self))]

    def stack(self) -> dict[str, Array] | None:
        """All rows as one batch; ``None`` if this kind of block must be read row by row.

        Raises:
            RequestError: one of them does not hold what the model takes.
        """
        return None

    def kept(self) -> Mapping[str, Any]:
        """The columns to copy to the result, as lists or Arrow arrays; null where a row has no value."""
        return {}

    @property
    def files(self) -> list[str]:
        """The file of each row."""
        return list(self._files) if len(self._files) == len(self) else [self._files[0]] * len(self)

    def where(self, index: int) -> str:
        """Position of a row, for messages: ``orders.parquet, row 17``."""
        return f"{self.files[index]}, {self.unit} {self.first + index + self.base}"
