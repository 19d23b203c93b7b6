"""Reads the rows of a payload log: the examples in them, what was predicted, and the truths."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lading.artifact.manifest import Manifest
from lading.content import content_of
from lading.drift.reference import Reference
from lading.errors import DataError
from lading.record.log_source import LogFile, LogSource
from lading.record.payload_columns import require_pyarrow
from lading.record.truth import LARGEST, Value, predicted_value
from lading.spec import Array, TensorSpec
from lading.tensors.ragged import separate

Row = dict[str, Any]
ANSWER = {"time", "request_id", "model", "variant", "digest", "code"}
TRUTH = {"time", "request_id", "output", "truth"}
"""Columns that every file of answers, or of truths, has."""


def read_rows(source: LogSource, file: LogFile) -> Iterator[Row]:
    """Yield the rows of one file.

    Raises:
        DataError: it cannot be read, or is no Parquet file.
        SettingsError: pyarrow is not installed.
    """
    pyarrow = require_pyarrow("reading a payload log")
    content = source.read(file.path)
    try:
        table = pyarrow.parquet.ParquetFile(io.BytesIO(content))
        if not any(set(table.schema_arrow.names) >= columns for columns in (ANSWER, TRUTH)):
            raise DataError(f"{source}/{file.path} is no file of a payload log: it has other columns")
        for batch in table.iter_batches(batch_size=256):
            yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise DataError(f"{source}/{file.path} is no file of a payload log: {str(error).splitlines()[0]}") from None


def row_examples(manifest: Manifest, row: Row, reference: Reference) -> Iterator[dict[str, Array]]:
    """Yield the features of each example in one row, the same as a running server computes."""
    given = tensors_of(manifest.inputs, row, "input")
    answered = tensors_of(manifest.outputs, row, "output")
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
        example = reference.features_of(inputs, outputs, one, other)
        for feature in described:
            seen = row.get(f"input.{feature}")
            if seen is not None and index < len(seen):
                example[feature] = np.array([float(seen[index])])
        yield example


def row_predictions(manifest: Manifest, row: Row) -> Mapping[str, Value]:
    """What a row's answer predicted, by output. Nothing for a request of several examples: no truth is about those."""
    answered = tensors_of(manifest.outputs, row, "output")
    specs = [spec for spec in manifest.outputs if spec.name in answered and answered[spec.name].size <= LARGEST]
    if max((len(answered[spec.name]) for spec in specs if spec.batched), default=1) != 1:
        return {}
    return {spec.name: predicted_value(spec, answered[spec.name]) for spec in specs}


def tensors_of(specs: Sequence[TensorSpec], row: Row, role: str) -> dict[str, Array]:
    """The tensors that a row has, by name.

    Args:
        specs: declarations of the inputs or of the outputs.
        row: a row of the log.
        role: ``input`` or ``output``.
    """
    found: dict[str, Array] = {}
    for spec in specs:
        values, shape = row.get(f"{role}.{spec.name}"), row.get(f"{role}.{spec.name}.shape")
        if values is not None and shape is not None:
            found[spec.name] = np.asarray(values, dtype=spec.numpy_dtype).reshape(shape)
    return found
