"""Write what is scored, score it, and read the answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from rich.console import Console

from lading.artifact import Artifact
from lading.score.score import Options, Score, score
from lading.spec import Array

FEATURES = pa.list_(pa.float32(), 4)


def run(artifact: Artifact, source: Path, output: Path, **options: Any) -> Score:
    return score(artifact, source, output, Options(**options), Console(quiet=True))


def read(output: Path) -> list[dict[str, Any]]:
    """A result's rows, whichever its format."""
    if output.suffix == ".parquet":
        return list(pq.read_table(output).to_pylist())
    return [json.loads(line) for line in output.read_text().splitlines()]


def features(rows: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)


def write_parquet(path: Path, values: Array, *, row_group: int | None = None) -> Path:
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    ids = pa.array([f"id-{number}" for number in range(len(values))])
    pq.write_table(pa.table({"id": ids, "features": column}), path, row_group_size=row_group or max(1, len(values)))
    return path


def write_lines(path: Path, rows: Iterable[Mapping[str, Any] | str]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def rings(sizes: Iterable[int]) -> list[dict[str, Any]]:
    """A ring of nodes a row."""
    rng = np.random.default_rng(1)
    return [
        {
            "nodes": rng.normal(size=(size, 2)).round(3).tolist(),
            "edges": [list(range(size)), [*range(1, size), 0]],
        }
        for size in sizes
    ]


def photos(folder: Path) -> list[Path]:
    """Four pictures in two folders, one of them a text, and a file that is none."""
    files = [
        folder / "a" / "red.jpg",
        folder / "a" / "torn.jpg",
        folder / "b" / "blue.png",
        folder / "b" / "green.webp",
    ]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.stem != "torn":
            Image.new("RGB", (40, 30), file.stem).save(file)
    files[1].write_text("this is no picture")
    (folder / "labels.csv").write_text("x")
    return files
