"""JSON schemas of a model's inputs, outputs and labels, for the OpenAPI document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lading.artifact.manifest import Manifest
from lading.content import content_of
from lading.protocol.datatypes import BYTES, TO_V2, v2_shape
from lading.protocol.plain import Classifier, labelled
from lading.protocol.table import is_table
from lading.record.truth import LARGEST_ERROR
from lading.spec import TensorSpec
from lading.tensors.checks import never_empty

Schema = dict[str, Any]


def inputs_schema(inputs: Sequence[TensorSpec], max_batch: int) -> Schema:
    """The body of ``/predict``: each input by name. Optional ones may be left out.

    A table is that, or a list per column, or a list of records, or one record.
    """
    filled = never_empty(inputs)
    properties = {spec.name: _input(spec, max_batch, filled) for spec in inputs}
    whole = _closed(properties) | {"required": [spec.name for spec in inputs if not spec.optional]}
    if not is_table(inputs):
        return whole
    columns = [column for spec in inputs for column in spec.columns or (spec,)]
    record = _closed({column.name: _cell(column) for column in columns})
    record["required"] = [column.name for column in columns if not column.missing]
    records = {"type": "array", "items": record, "minItems": 1, "maxItems": max_batch}
    lists = _closed({column.name: {"type": "array", "items": _number(column, bounds=True)} for column in columns}) | {
        "description": "one list per column"
    }
    return {"anyOf": [records, record, lists, whole]}


def _cell(column: TensorSpec) -> Schema:
    notes = [column.description, column.dtype, f"in {column.unit}" if column.unit else ""]
    return _number(column, bounds=True) | {"description": "; ".join(note for note in notes if note)}


def outputs_schema(manifest: Manifest) -> Schema:
    """The answer of ``/predict``."""
    values = {spec.name: _nested(spec, None, bounds=False) for spec in manifest.outputs}
    labels: Schema = {
        spec.name: {"type": "array", "items": {"enum": list(spec.labels or ())}} for spec in labelled(manifest.outputs)
    }
    units = {spec.name: {"const": spec.unit} for spec in manifest.outputs if spec.unit}
    found = {spec.name: _found_boxes(spec) for spec in manifest.outputs if spec.content == "boxes"}
    return _closed(
        {
            "outputs": _closed(values),
            **({"labels": _closed(labels)} if labels else {}),
            **({"units": _closed(units)} if units else {}),
            **({"found": _closed(found)} if found else {}),
            "model": {"const": manifest.name},
            "variant": {"type": "string"},
        }
    )


def _found_boxes(spec: TensorSpec) -> Schema:
    """The boxes of each example, without padding."""
    share: Schema = {"type": "number"}
    box = _closed(
        {
            "class": {"type": "string", "enum": list(spec.classes or ())},
            "score": share,
            "box": {"type": "array", "items": share, "minItems": 4, "maxItems": 4},
        }
    )
    return {"type": "array", "items": {"type": "array", "items": box}}


def classify_answer(classifier: Classifier) -> Schema:
    """The answer of ``/classify``: a label per output, and the number of each label."""
    number: Schema = {"type": "number", "minimum": 0, "maximum": 1} if classifier.probabilistic else {"type": "number"}
    labels = {spec.name: list(spec.labels or ()) for spec in classifier.outputs}
    numbers = _closed({name: _closed(dict.fromkeys(names, number)) for name, names in labels.items()})
    properties: Schema = {name: {"type": "string", "enum": names} for name, names in labels.items()}
    if classifier.probabilistic:
        properties["confidence"] = number | {"description": "How likely all labels are right: their product."}
        properties["probabilities"] = numbers
    else:
        properties["scores"] = numbers
    return _closed(properties | {"model": {"const": classifier.model}, "variant": {"const": classifier.variant}})


def infer_request(inputs: Sequence[TensorSpec]) -> Schema:
    """The JSON body of the Open Inference Protocol."""
    datatypes = sorted(
        {TO_V2[spec.dtype] for spec in inputs} | {BYTES for spec in inputs if spec.content or spec.codes}
    )
    tensor = {
        "type": "object",
        "properties": {
            "name": {"enum": [spec.name for spec in inputs]},
            "datatype": {"enum": datatypes},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "data": {"type": "array", "description": "flat, in row-major order, or nested as the shape is"},
        },
        "required": ["name", "datatype", "shape", "data"],
    }
    return {
        "type": "object",
        "properties": {"id": {"type": "string"}, "inputs": {"type": "array", "items": tensor, "minItems": 1}},
        "required": ["inputs"],
    }


def infer_inputs(inputs: Sequence[TensorSpec]) -> str:
    """Name, datatype and shape of each input, in the terms of the Open Inference Protocol."""
    return "; ".join(_described(spec) for spec in inputs)


def truth_schema(outputs: Sequence[TensorSpec]) -> Schema:
    """The true value of each output in a body of ``/feedback``."""
    return {spec.name: _truth(spec) for spec in outputs}


def feedback_answer(outputs: Sequence[TensorSpec]) -> Schema:
    """What ``/feedback`` answers about each output: predicted, truth, and whether it was right or the error."""
    return {spec.name: _scored(spec) for spec in outputs}


def _input(spec: TensorSpec, max_batch: int, filled: frozenset[str | None]) -> Schema:
    nested = _nested(spec, max_batch, bounds=True, filled=filled)
    notes = [spec.description, f"{spec.dtype} {list(spec.shape)}", f"in {spec.unit}" if spec.unit else ""]
    if spec.indexes:
        notes.append(f"each value is a row of {spec.indexes!r}, counted from 0")
    if spec.owner_of:
        notes.append(f"for each row of {spec.owner_of!r} its example, counted from 0; leave it out for one example")
    if spec.padding is not None:
        notes.append(f"at most {spec.padding.max_length} {spec.padded_dim}")
    if spec.preprocess is not None and spec.preprocess.kept:
        notes.append(f"pictures {spec.preprocess.bound}, and of one size in a request")
    if spec.mask_of is not None:
        notes.append(f"1 for each of the {spec.mask_of!r}, 0 for filling; made by the server if it is left out")
    if spec.default is not None:
        notes.append(f"{spec.default} if it is left out")
    description = "; ".join(note for note in notes if note)
    content = content_of(spec)
    if content is None:
        return nested | {"description": description}
    file = content.json_schema()
    batch = {"type": "array", "items": file, "minItems": 1, "maxItems": max_batch}
    return {"description": f"{description}; or {content.one_of_bytes} each", "anyOf": [file, batch, nested]}


def _nested(
    spec: TensorSpec, max_batch: int | None, *, bounds: bool, filled: frozenset[str | None] = frozenset()
) -> Schema:
    """Lists in lists, as deep as the tensor has dims; those of the dims ``filled`` have at least one entry."""
    schema = _number(spec, bounds=bounds)
    for dim in reversed(spec.shape):
        schema = {"type": "array", "items": schema}
        if isinstance(dim, int):
            schema |= {"minItems": dim, "maxItems": dim}
        elif bounds:
            schema["minItems"] = int(dim in filled)
            if max_batch is not None and dim == "batch":
                schema["maxItems"] = max_batch
    return schema


def _number(spec: TensorSpec, *, bounds: bool) -> Schema:
    if spec.dtype == "bool":
        return {"type": "boolean"}
    if spec.dtype == "string":
        known = {"examples": list(spec.categories)} if spec.categories and bounds else {}
        return {"type": "string", **({"maxLength": spec.max_bytes} if bounds else {}), **known}
    if spec.codes is not None and bounds:
        return _category(spec)
    integer = spec.numpy_dtype.kind in "iu"
    kind: Schema = {"type": "integer" if integer else "number"}
    if not bounds:
        return kind
    low: float
    high: float
    if integer:
        low, high = int(np.iinfo(spec.dtype).min), int(np.iinfo(spec.dtype).max)
    else:
        low, high = float(np.finfo(spec.dtype).min), float(np.finfo(spec.dtype).max)
    if spec.minimum is not None:
        low = max(low, spec.minimum)
    if spec.maximum is not None:
        high = min(high, spec.maximum)
    if spec.indexes or spec.owner_of:
        low = max(low, 0)
    if spec.mask_of:
        low, high = 0, 1
    if spec.missing:
        kind = {"type": ["number", "null"]}
    return kind | {"minimum": low, "maximum": high}


def _category(spec: TensorSpec) -> Schema:
    """The name of a category, or its code; any name where there is a code for unknown ones."""
    names: Schema = {"type": "string", "enum": list(spec.categories or ())}
    if spec.unknown is not None:
        names = {"type": "string", "examples": names["enum"]}
    code = {"type": "integer", "minimum": spec.minimum, "maximum": spec.maximum}
    return {"anyOf": [names, code, *([{"type": "null"}] if spec.missing else [])]}


def _truth(spec: TensorSpec) -> Schema:
    if spec.dtype == "string":
        return {"type": "string", "maxLength": spec.max_bytes}
    if spec.scores_labels:
        return {"type": "string", "enum": list(spec.labels or ())}
    number = {"type": "number", "minimum": -LARGEST_ERROR, "maximum": LARGEST_ERROR}
    size = math.prod(dim for dim in spec.example_shape if isinstance(dim, int))
    values: Schema = {"type": "array", "items": number}
    if spec.batched:
        values |= {"minItems": size, "maxItems": size}
    return {"anyOf": [number, values]} if size == 1 else values


def _scored(spec: TensorSpec) -> Schema:
    label = spec.scores_labels or spec.dtype == "string"
    name, kind = ("right", {"type": "boolean"}) if label else ("error", {"type": "number", "minimum": 0})
    return {"type": "object", "properties": {name: kind}, "required": ["predicted", "truth", name]}


def _described(spec: TensorSpec) -> str:
    content = content_of(spec)
    also = "" if content is None else f", or {BYTES} [n]: {content.one_of_bytes} each"
    also = f", or {BYTES}: the name of a category each" if spec.codes is not None else also
    return f"`{spec.name}`, {TO_V2[spec.dtype]} {v2_shape(spec)}{also}"


def _closed(properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
