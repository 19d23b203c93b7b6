"""The result as JSON lines: one object per row."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from lading.score.result import ERROR, FILE, LABEL, ROW, Result, labelled, most_likely
from lading.score.scorer import Answers
from lading.score.source import Block
from lading.spec import Array

_NO_ERROR = f'"{ERROR}":null}}\n'.encode()
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE


class JsonLinesResult(Result):
    """Numbers as in answers of ``POST /predict``. A row without an answer has nulls."""

    suffixes = (".jsonl", ".ndjson", ".jsonlines")

    def encode(self, block: Block, answers: Answers) -> bytes:
        kept = {name: _values(column) for name, column in block.kept().items()}
        files = block.files
        columns = self._columns(answers)
        lines = []
        good = 0
        for index, error in enumerate(answers.errors):
            row: dict[str, Any] = {FILE: files[index], ROW: block.first + index}
            row |= {field.name: kept[field.name][index] for field in self.kept}
            row |= {name: None if error else values[good] for name, values in columns.items()}
            good += error is None
            if self.keep_errors:
                row[ERROR] = error
            lines.append(orjson.dumps(row, default=_shown, option=_OPTIONS))
        return b"".join(lines)

    def write_part(self, path: Path, blocks: Sequence[bytes]) -> None:
        with path.open("wb") as stream:
            stream.writelines(blocks)

    def join(self, parts: Sequence[Path], path: Path) -> tuple[int, int]:
        rows = errors = 0
        with path.open("wb") as joined:
            for part in parts:
                with part.open("rb") as stream:
                    for line in stream:
                        rows += 1
                        errors += self.keep_errors and not line.endswith(_NO_ERROR)
                    stream.seek(0)
                    shutil.copyfileobj(stream, joined, 1 << 20)
        return rows, errors

    def _columns(self, answers: Answers) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        for spec in self.outputs:
            rows = answers.outputs[spec.name]
            columns[spec.name] = [_number(row) for row in rows] if isinstance(rows, list) else _number(rows)
            if labelled(spec):
                columns[spec.name + LABEL] = most_likely(spec, np.asarray(rows))
        return columns


def _number(array: Array) -> Array | list[Any]:
    """Convert to what orjson can write: neither float16 nor arrays of strings."""
    if array.dtype.kind == "O":
        return list(array.tolist())
    return np.ascontiguousarray(array.astype(np.float32) if array.dtype == np.float16 else array)


def _values(column: Any) -> list[Any]:
    return list(column.to_pylist() if isinstance(column, pa.Array) else column)


def _shown(value: Any) -> Any:
    """Convert values without a JSON type: numpy scalars to numbers; bytes, decimals and others to text."""
    if isinstance(value, np.generic):
        return value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
