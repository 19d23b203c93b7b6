"""The result as Parquet: one row group per part, and fixed-size lists for fixed shapes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lading.score.result import ERROR, FILE, LABEL, ROW, Result, labelled, most_likely
from lading.score.scorer import Answers
from lading.score.source import Block
from lading.spec import Array, TensorSpec

_COMPRESSION = "zstd"


class ParquetResult(Result):
    """Plain lists and no extension types, so that pyarrow, pandas, DuckDB, Spark and BigQuery can read it."""

    suffixes = (".parquet", ".pq")

    @property
    def schema(self) -> pa.Schema:
        fields = [pa.field(FILE, pa.string()), pa.field(ROW, pa.int64()), *self.kept]
        for spec in self.outputs:
            fields.append(pa.field(spec.name, arrow_type(spec)))
            if labelled(spec):
                fields.append(pa.field(spec.name + LABEL, pa.string()))
        if self.keep_errors:
            fields.append(pa.field(ERROR, pa.string()))
        return pa.schema(fields, metadata={"lading": self.record})

    def encode(self, block: Block, answers: Answers) -> pa.RecordBatch:
        kept = block.kept()
        size = len(block)
        columns = [pa.array(block.files, pa.string()), pa.array(np.arange(block.first, block.first + size))]
        columns += [_kept(kept[field.name], field.type) for field in self.kept]
        # The good rows in order, and a null for each bad one.
        good = iter(range(size))
        places = pa.array([None if error else next(good) for error in answers.errors], pa.int64())
        for spec in self.outputs:
            rows = answers.outputs[spec.name]
            columns.append(arrow_array(spec, rows).take(places))
            if labelled(spec):
                columns.append(pa.array(most_likely(spec, np.asarray(rows)), pa.string()).take(places))
        if self.keep_errors:
            columns.append(pa.array(answers.errors, pa.string()))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def write_part(self, path: Path, blocks: Sequence[pa.RecordBatch]) -> None:
        self._write(path, [pa.Table.from_batches(blocks, self.schema)])

    def join(self, parts: Sequence[Path], path: Path) -> tuple[int, int]:
        rows = errors = 0
        with pq.ParquetWriter(path, self.schema, compression=_COMPRESSION) as writer:
            for part in parts:
                table = pq.ParquetFile(part).read(use_threads=False).cast(self.schema)
                writer.write_table(table, row_group_size=max(1, table.num_rows))
                rows += table.num_rows
                errors += table.num_rows - table.column(ERROR).null_count if self.keep_errors else 0
        return rows, errors

    def _write(self, path: Path, tables: Sequence[pa.Table]) -> None:
        with pq.ParquetWriter(path, self.schema, compression=_COMPRESSION) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=max(1, table.num_rows))


def arrow_type(spec: TensorSpec) -> pa.DataType:
    """The type of a column with one tensor per row."""
    kind = _leaf_type(spec)
    for dim in reversed(spec.example_shape):
        kind = pa.list_(kind, dim) if isinstance(dim, int) else pa.list_(kind)
    return kind


def _leaf_type(spec: TensorSpec) -> pa.DataType:
    """The type of one value."""
    return pa.string() if spec.dtype == "string" else pa.from_numpy_dtype(spec.numpy_dtype)


def arrow_array(spec: TensorSpec, rows: Array | list[Array]) -> pa.Array:
    """An array or a list of rows as a column."""
    kind = arrow_type(spec)
    if isinstance(rows, list):
        return pa.array([row.tolist() for row in rows], kind)
    column = pa.array(np.ascontiguousarray(rows).reshape(-1), _leaf_type(spec))
    for dim in reversed(spec.example_shape):
        column = pa.FixedSizeListArray.from_arrays(column, dim)
    return column.cast(kind)


def _kept(values: object, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    assert isinstance(values, list)
    # Values from JSON may differ in type from row to row. Text stays text, other values become JSON.
    import orjson

    return pa.array(
        [value if isinstance(value, str) or value is None else orjson.dumps(value).decode() for value in values], kind
    )
