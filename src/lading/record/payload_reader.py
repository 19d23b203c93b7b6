"""Reads a payload log: rows, and the features of each example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lading.content import content_of
from lading.drift.reference import example_features
from lading.errors import DataError
from lading.manifest import Manifest
from lading.record.payload_columns import require_pyarrow
from lading.spec import Array, TensorSpec
from lading.tensors.ragged import separate

FEEDBACK = "feedback"
Row = dict[str, Any]


def read_rows(folder: Path, model: str) -> Iterator[Row]:
    """Yield the rows of one model, oldest file first.

    Args:
        folder: the whole log, or the folder of one model in it.
        model: name of the model.

    Raises:
        DataError: there is no file of that model.
    """
    parquet = require_pyarrow("reading a payload log").parquet
    root = folder / model if (folder / model).is_dir() else folder
    files = sorted(file for file in root.rglob("*.parquet") if FEEDBACK not in file.relative_to(root).parts)
    if not files:
        raise DataError(f"{root} holds no file of a payload log: name the folder that LADING_PAYLOAD_LOG names")
    for file in files:
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=256):
            yield from batch.to_pylist()


def read_truths(folder: Path) -> dict[str, dict[str, str]]:
    """Return feedback by request id: the truth (JSON) by output. The newest truth counts."""
    parquet = require_pyarrow("reading a payload log").parquet
    truths: dict[str, dict[str, str]] = {}
    for file in sorted((folder / FEEDBACK).rglob("*.parquet")):
        for row in parquet.read_table(file, partitioning=None).to_pylist():
            truths.setdefault(row["request_id"], {})[row["output"]] = row["truth"]
    return truths


def row_examples(manifest: Manifest, row: Row) -> Iterator[dict[str, Array]]:
    """Yield the features of each example in one row, the same as a running server computes."""
    given = _tensors(manifest.inputs, row, "input")
    answered = _tensors(manifest.outputs, row, "output")
    inputs = [spec for spec in manifest.inputs if spec.name in given]
    outputs = [spec for spec in manifest.outputs if spec.name in answered]
    plain = separate(inputs, outputs, given, answered) if inputs or outputs else iter([({}, {})])
    described = [
        f"{spec.name}.{feature}"
        for spec in manifest.inputs
        if (content := content_of(spec)) is not None and not spec.sensitive
        for feature in content.feature_names
    ]
    for index, (one, other) in enumerate(plain):
        example = example_features(inputs, outputs, one, other)
        for feature in described:
            seen = row.get(f"input.{feature}")
            if seen is not None and index < len(seen):
                example[feature] = np.array([float(seen[index])])
        yield example


def output_of(manifest: Manifest, row: Row, output: str) -> Array | None:
    """Return one output of a row's first example, without the batch dim; ``None`` if it was not logged."""
    spec = next(spec for spec in manifest.outputs if spec.name == output)
    array = _tensors([spec], row, "output").get(output)
    return None if array is None or not array.size else np.asarray(array[0])


def _tensors(specs: Sequence[TensorSpec], row: Row, role: str) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for spec in specs:
        values, shape = row.get(f"{role}.{spec.name}"), row.get(f"{role}.{spec.name}.shape")
        if values is not None and shape is not None:
            found[spec.name] = np.asarray(values, dtype=spec.numpy_dtype).reshape(shape)
    return found
