"""JSON lines: one object per row with one key per input, read by the rules of ``POST /predict``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from lading.budget import Budget
from lading.content import content_of, decode_file
from lading.errors import DataError, RequestError
from lading.protocol.base64_files import from_base64
from lading.protocol.json_body import parse_object
from lading.protocol.json_values import parse_tensor
from lading.protocol.table import value_of
from lading.score.source import Block, Piece, Source
from lading.spec import Array, TensorSpec

MAX_LINE = 64_000_000
"""Largest size of a line in bytes. A longer one is most likely another kind of file."""
_CHUNK = 1 << 22
_NEWLINE = 10


class JsonLinesBlock(Block):
    """Consecutive lines of one file."""

    unit = "line"
    base = 1

    def __init__(
        self, specs: Sequence[TensorSpec], file: str, first: int, lines: Sequence[bytes], keep: Sequence[str]
    ) -> None:
        super().__init__(specs, [file], first)
        self._lines = lines
        self._examples = [spec for spec in specs if not spec.optional]
        self._keep = keep

    def __len__(self) -> int:
        return len(self._lines)

    def row(self, index: int) -> dict[str, Array]:
        content = parse_object(self._lines[index])
        arrays: dict[str, Array] = {}
        for spec in self._examples:
            arrays[spec.name] = _tensor(spec, value_of(spec, content))
        return arrays

    def stack(self) -> dict[str, Array] | None:
        if any(spec.content is not None for spec in self.specs):
            return None
        contents = [parse_object(line) for line in self._lines]
        values = {spec.name: [value_of(spec, row) for row in contents] for spec in self._examples}
        return {spec.name: parse_tensor(spec, values[spec.name]) for spec in self._examples}

    def kept(self) -> dict[str, list[Any]]:
        rows = [_object_or_empty(line) for line in self._lines]
        return {name: [row.get(name) for row in rows] for name in self._keep}


class JsonLinesSource(Source):
    """One object per line, with a key for each of the model's inputs. Other keys are ignored."""

    @classmethod
    def suffixes(cls) -> tuple[str, ...]:
        return (".jsonl", ".ndjson", ".jsonlines")

    @property
    def kind(self) -> str:
        return "JSON lines"

    def check(self) -> None:
        for name in self.files:
            with (self.root / name).open("rb") as stream:
                line = stream.readline(MAX_LINE)
            if not line:
                continue
            where = f"{self.root / name}, line 1"
            try:
                self.refuse_missing(where, list(parse_object(line)))
                JsonLinesBlock(self.specs, name, 0, [line], ()).row(0)
            except RequestError as error:
                raise DataError(f"{where}: {error}") from None

    def kept_fields(self) -> list[pa.Field]:
        return [pa.field(name, pa.string()) for name in self.keep]

    def pieces(self, part_rows: int) -> list[Piece]:
        found: list[Piece] = []
        for name in self.files:
            lines, starts = _line_starts(self.root / name, part_rows)
            for index, start in enumerate(starts):
                first = index * part_rows
                rows = min(part_rows, lines - first)
                found.append(Piece(len(found), (name,), first, rows, start=start))
        return found

    def blocks(self, pieces: Sequence[Piece], block_rows: int) -> Iterator[tuple[Piece, Block]]:
        for piece in pieces:
            with (self.root / piece.files[0]).open("rb") as stream:
                stream.seek(piece.start)
                for start in range(0, piece.rows, block_rows):
                    lines = list(islice(stream, min(block_rows, piece.rows - start)))
                    yield piece, JsonLinesBlock(self.specs, piece.files[0], piece.first + start, lines, self.keep)


def _tensor(spec: TensorSpec, value: Any) -> Array:
    content = content_of(spec)
    if content is not None and isinstance(value, str):
        return decode_file(content, from_base64(spec, 0, value), spec, Budget())[None]
    if not spec.batched:
        return parse_tensor(spec, value)
    # Without the batch dim, so that messages count brackets as in the file.
    return parse_tensor(spec.model_copy(update={"shape": spec.example_shape}), value)[None]


def _object_or_empty(line: bytes) -> Mapping[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _line_starts(path: Path, every: int) -> tuple[int, list[int]]:
    """Number of lines in a file, and the byte where every ``every``-th one starts. Reads the file once, in chunks.

    Raises:
        DataError: a line of more than :data:`MAX_LINE` bytes.
    """
    starts: list[int] = []
    lines, at, line_start = 0, 0, 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            ends = np.flatnonzero(np.frombuffer(chunk, dtype=np.uint8) == _NEWLINE) + at + 1
            begins = np.concatenate([[line_start], ends])
            lengths = np.diff(np.append(begins, at + len(chunk)))
            if lengths.max() > MAX_LINE:
                number = lines + int(lengths.argmax()) + 1
                raise DataError(f"{path}, line {number}: longer than {MAX_LINE} bytes; is this a JSON lines file?")
            # Keep the starts of lines that end in this chunk, and the start of the last line until it ends.
            starts += begins[: len(ends)][-lines % every :: every].tolist()
            lines += len(ends)
            line_start = int(begins[-1])
            at += len(chunk)
    if at > line_start:  # the last line has no newline
        if lines % every == 0:
            starts.append(line_start)
        lines += 1
    return lines, starts
