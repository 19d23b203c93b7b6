"""Reads a payload log back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyarrow import parquet


def rows_in(folder: Path, model: str) -> list[dict[str, Any]]:
    """Every row of a model's files, in the order in which they were written."""
    files = sorted((folder / model).rglob("*.parquet"), key=lambda file: file.stat().st_mtime_ns)
    return [row for file in files for row in parquet.ParquetFile(file).read().to_pylist()]
