"""Parquet files: one column per input, read one row group at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lading.budget import Budget
from lading.content import content_of, decode_file
from lading.errors import DataError
from lading.score.parquet_tensor import file_bytes, is_encoded, rows_of, stacked, type_problem
from lading.score.source import Block, Piece, Source
from lading.spec import Array, TensorSpec

_READ_BYTES = 1 << 20
"""Bytes of a column to read at a time. Without it, the column of a whole row group is read at once."""


class ColumnsBlock(Block):
    """Consecutive rows as columns, by the names that the model knows them by; ``keep`` has others."""

    def __init__(
        self, specs: Sequence[TensorSpec], file: str, first: int, batch: pa.RecordBatch, keep: Sequence[str]
    ) -> None:
        super().__init__(specs, [file], first)
        self._batch = batch
        self._keep = keep

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def row(self, index: int) -> dict[str, Array]:
        return self._read(self._batch.slice(index, 1))[0]

    def rows(self) -> list[dict[str, Array]]:
        return self._read(self._batch)

    def stack(self) -> dict[str, Array] | None:
        if any(spec.content and is_encoded(spec, self._batch.column(spec.name).type) for spec in self.specs):
            return None
        return {spec.name: _stacked(spec, self._batch) for spec in self.specs}

    def kept(self) -> dict[str, pa.Array]:
        return {name: self._batch.column(name) for name in self._keep}

    def _read(self, batch: pa.RecordBatch) -> list[dict[str, Array]]:
        columns = {spec.name: self._tensors(spec, batch) for spec in self.specs if not spec.optional}
        return [{name: tensors[index] for name, tensors in columns.items()} for index in range(batch.num_rows)]

    @staticmethod
    def _tensors(spec: TensorSpec, batch: pa.RecordBatch) -> list[Array]:
        if spec.name not in batch.schema.names:
            whole = _stacked(spec, batch)
            return [whole[row : row + 1] for row in range(len(whole))]
        column, content = batch.column(spec.name), content_of(spec)
        if content is not None and is_encoded(spec, column.type):
            return [decode_file(content, data, spec, Budget())[None] for data in file_bytes(spec, column)]
        return [row[None] if spec.batched else row for row in rows_of(spec, column)]


def _stacked(spec: TensorSpec, batch: pa.RecordBatch) -> Array:
    if spec.name in batch.schema.names:
        return stacked(spec, batch.column(spec.name))
    return np.stack([stacked(column, batch.column(column.name)) for column in spec.columns], axis=1)


def column_spec(specs: Sequence[TensorSpec], name: str) -> TensorSpec:
    """The input of that name, or the column of one."""
    return next(one for spec in specs for one in (spec, *spec.columns) if one.name == name)


class ParquetSource(Source):
    """One column per input or per label of an input, with the same name. Other columns are not read."""

    @classmethod
    def suffixes(cls) -> tuple[str, ...]:
        return (".parquet", ".pq")

    @property
    def kind(self) -> str:
        return "Parquet"

    def check(self) -> None:
        first: Mapping[str, pa.DataType] = {}
        for name in self.files:
            with self._open(name) as file:
                schema = file.schema_arrow
            self.refuse_missing(str(self.root / name), schema.names)
            taken = self.taken(schema.names)
            for column in (*taken, *self.keep):
                if schema.names.count(column) > 1:
                    raise DataError(f"{self.root / name} has {schema.names.count(column)} columns named {column!r}")
            for column, known in taken.items():
                problem = type_problem(column_spec(self.specs, known), schema.field(column).type)
                if problem:
                    raise DataError(f"{self.root / name}: the column {column!r} {problem}")
            kept = {column: schema.field(column).type for column in self.keep}
            first = first or kept
            for column in self.keep:
                if kept[column] != first[column]:
                    raise DataError(
                        f"{self.root / name}: the column {column!r}, which is to be kept, has the type {kept[column]}, "
                        f"and in {self.files[0]} {first[column]}"
                    )

    def kept_fields(self) -> list[pa.Field]:
        with self._open(self.files[0]) as file:
            schema = file.schema_arrow
        return [pa.field(name, schema.field(name).type) for name in self.keep]

    def pieces(self, part_rows: int) -> list[Piece]:
        found: list[Piece] = []
        for name in self.files:
            first = 0
            with self._open(name) as file:
                sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            for group, size in enumerate(sizes):
                for start in range(0, size, part_rows):
                    rows = min(part_rows, size - start)
                    found.append(Piece(len(found), (name,), first + start, rows, group=group, start=start))
                first += size
        return found

    def tasks(self, pieces: Sequence[Piece]) -> list[list[Piece]]:
        return [list(group) for _, group in groupby(pieces, key=_row_group)]

    def blocks(self, pieces: Sequence[Piece], block_rows: int) -> Iterator[tuple[Piece, Block]]:
        for (name, group), together in groupby(pieces, key=_row_group):
            wanted = list(together)
            with self._open(name) as file:
                try:
                    yield from self._row_group(file, group, wanted, block_rows)
                except (pa.ArrowException, OSError) as error:
                    raise DataError(f"{self.root / name}: row group {group} cannot be read: {error}") from None

    def _row_group(
        self, file: pq.ParquetFile, group: int, pieces: Sequence[Piece], block_rows: int
    ) -> Iterator[tuple[Piece, Block]]:
        taken = self.taken(file.schema_arrow.names)
        columns = list(dict.fromkeys((*taken, *self.keep)))
        batches = file.iter_batches(batch_size=block_rows, row_groups=[group], columns=columns, use_threads=False)
        at = 0
        rest: pa.RecordBatch | None = None
        for piece in pieces:
            end = piece.start + piece.rows
            while at < end:
                batch = next(batches) if rest is None else rest
                skipped = min(batch.num_rows, max(0, piece.start - at))
                part = batch.slice(skipped, end - at - skipped)
                if part.num_rows:
                    first = piece.first + at + skipped - piece.start
                    yield piece, ColumnsBlock(self.specs, piece.files[0], first, known_by(taken, part), self.keep)
                at += skipped + part.num_rows
                rest = batch.slice(skipped + part.num_rows)
                rest = rest if rest.num_rows else None

    @contextmanager
    def _open(self, name: str) -> Iterator[pq.ParquetFile]:
        path: Path = self.root / name
        try:
            file = pq.ParquetFile(path, buffer_size=_READ_BYTES, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is not a Parquet file that can be read: {error}") from None
        with file:
            yield file


def known_by(taken: Mapping[str, str], batch: pa.RecordBatch) -> pa.RecordBatch:
    """The columns under the names that the model knows, and those that are kept under their own."""
    renamed = {known: batch.column(name) for name, known in taken.items()}
    return pa.RecordBatch.from_pydict({name: batch.column(name) for name in batch.schema.names} | renamed)


def _row_group(piece: Piece) -> tuple[str, int]:
    return piece.files[0], piece.group
