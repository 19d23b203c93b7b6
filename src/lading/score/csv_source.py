"""CSV files: a column per input or per label of an input, by the names in the first line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from lading.errors import DataError
from lading.score.parquet_source import ColumnsBlock, column_spec, known_by
from lading.score.source import Block, Piece, Source
from lading.spec import TensorSpec

_BYTES = 1 << 20
"""Bytes to read at a time; a line must be shorter."""


class CsvSource(Source):
    """Comma-separated values in UTF-8, or tab-separated ones in a ``.tsv`` file.

    Columns are read as what the model takes: strings stay as they are, also ``"007"``. An empty field, ``NA`` and
    ``NaN`` are missing values where there may be some.
    """

    aside = True  # labels.csv beside pictures

    @classmethod
    def suffixes(cls) -> tuple[str, ...]:
        return (".csv", ".tsv")

    @property
    def kind(self) -> str:
        return "CSV"

    def check(self) -> None:
        for name in self.files:
            header = self._header(name)
            if header and not any(map(str.isidentifier, header)) and not set(header) & {*self.taken(header)}:
                raise DataError(
                    f"{self.root / name} has no names of columns in its first line, which is {', '.join(header)[:80]}: "
                    f"the model takes {', '.join(self.columns)}"
                )
            self.refuse_missing(str(self.root / name), header)
            for column in (*self.taken(header), *self.keep):
                if header.count(column) > 1:
                    raise DataError(f"{self.root / name} has {header.count(column)} columns named {column!r}")
            for known in self.taken(header).values():
                spec = column_spec(self.specs, known)
                if spec.content is not None or spec.example_shape not in ((), (1,)):
                    raise DataError(
                        f"{self.root / name}: a field of CSV holds one value, and the model takes {known!r} of shape "
                        f"{list(spec.example_shape)}: write Parquet or JSON lines, or a column for each of its labels"
                    )

    def kept_fields(self) -> list[pa.Field]:
        return [pa.field(name, pa.string()) for name in self.keep]

    def pieces(self, part_rows: int) -> list[Piece]:
        found: list[Piece] = []
        for name in self.files:
            rows = sum(batch.num_rows for batch in self._batches(name))
            for first in range(0, rows, part_rows):
                found.append(Piece(len(found), (name,), first, min(part_rows, rows - first), start=first))
        return found

    def blocks(self, pieces: Sequence[Piece], block_rows: int) -> Iterator[tuple[Piece, Block]]:
        for name in dict.fromkeys(piece.files[0] for piece in pieces):
            wanted = [piece for piece in pieces if piece.files[0] == name]
            taken, at = self.taken(self._header(name)), 0
            for batch in self._batches(name):
                for piece in wanted:
                    begin, end = max(piece.first, at), min(piece.first + piece.rows, at + batch.num_rows)
                    for start in range(begin, end, block_rows):
                        part = known_by(taken, batch.slice(start - at, min(block_rows, end - start)))
                        yield piece, ColumnsBlock(self.specs, name, start, part, self.keep)
                at += batch.num_rows
                if at >= wanted[-1].first + wanted[-1].rows:
                    break

    def _header(self, name: str) -> list[str]:
        with self._open(name, {}) as reader:
            return list(reader.schema.names)

    def _batches(self, name: str) -> Iterator[pa.RecordBatch]:
        taken = self.taken(self._header(name))
        types = {column: _type(column_spec(self.specs, known)) for column, known in taken.items()}
        try:
            with self._open(name, {**dict.fromkeys(self.keep, pa.string()), **types}) as reader:
                yield from reader
        except pa.ArrowException as error:
            raise DataError(f"{self.root / name} cannot be read: {error}") from None

    def _open(self, name: str, types: dict[str, pa.DataType]) -> csv.CSVStreamingReader:
        path: Path = self.root / name
        try:
            return csv.open_csv(
                path,
                csv.ReadOptions(use_threads=False, block_size=_BYTES),
                csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True),
                csv.ConvertOptions(column_types=types, include_columns=[*types] or None, strings_can_be_null=False),
            )
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is not a CSV file that can be read: {error}") from None


def _type(spec: TensorSpec) -> pa.DataType:
    if spec.dtype == "string" or spec.codes is not None:
        return pa.string()
    return pa.from_numpy_dtype("float64" if spec.numpy_dtype.kind == "f" else spec.numpy_dtype)
