"""Where lines begin is found however the file is cut into chunks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.errors import DataError
from lading.score import jsonl_source
from lading.score.jsonl_source import JsonLinesSource
from lading.spec import TensorSpec

SPEC = TensorSpec(name="x", dtype="float32", shape=("batch", 1))
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@SHARED
@given(
    lines=st.lists(st.integers(0, 9).map(lambda length: b"x" * length), max_size=12),
    last=st.booleans(),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 5)),
)
def test_pieces_and_blocks_hold_every_line_once(
    tmp_path: Path, lines: list[bytes], last: bool, sizes: tuple[int, int, int]
) -> None:
    chunk, part_rows, block_rows = sizes
    content = b"".join(line + b"\n" for line in lines) + (b"" if last else b"end")
    (tmp_path / "x.jsonl").write_bytes(content)
    source = JsonLinesSource(tmp_path, ("x.jsonl",), (SPEC,))
    expected = content.splitlines()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl_source, "_CHUNK", chunk)
        pieces = source.pieces(part_rows)
    assert [piece.rows for piece in pieces] == [
        min(part_rows, len(expected) - start) for start in range(0, len(expected), part_rows)
    ]
    found = [line.rstrip(b"\n") for _, block in source.blocks(pieces, block_rows) for line in block._lines]  # type: ignore[attr-defined]
    assert found == expected


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl_source, "MAX_LINE", 10)
    (tmp_path / "x.jsonl").write_bytes(b"12\n1234567890123\n1\n")
    with pytest.raises(DataError, match="line 2: longer than 10 bytes"):
        JsonLinesSource(tmp_path, ("x.jsonl",), (SPEC,)).pieces(5)
