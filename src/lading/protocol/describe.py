"""``GET /model``: what is served, as the page shows it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from lading.artifact import Artifact
from lading.artifact.manifest import PackedVariant
from lading.content import content_of
from lading.preprocess import DEFAULT
from lading.protocol.datatypes import BYTES, TO_V2
from lading.protocol.plain import Classifier, are_probabilities, labelled
from lading.protocol.table import is_table
from lading.protocol.texts import TextForm
from lading.spec import Array, TensorSpec
from lading.tensors.ragged import separate

_LARGEST_EXAMPLE = 64  # numbers; a longer list is not something to read or to type
_LARGEST_FILES = 32_768  # characters of base64


def describe_model(
    artifact: Artifact, packed: PackedVariant, classifier: Classifier | str, texts: Sequence[TextForm] = ()
) -> dict[str, Any]:
    """Name, version, variant, digest, tensors, and what requests may look like.

    That is: the kind of file that ``/classify`` takes, a body that ``/predict`` answers, and the texts that it reads.
    """
    manifest = artifact.manifest
    scored = classifier.outputs if isinstance(classifier, Classifier) else labelled(manifest.outputs)
    return {
        "name": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "variant": packed.variant.name,
        "precision": packed.precision,
        "exporter": packed.exporter,
        "digest": artifact.digest,
        "classify": isinstance(classifier, Classifier),
        "file": classifier.content.describe() if isinstance(classifier, Classifier) else None,
        "probabilistic": bool(scored) and are_probabilities(scored, artifact.golden_outputs(packed.variant.name)),
        "fields": [] if isinstance(classifier, Classifier) else form_fields(artifact),
        "inputs": [_tensor(spec) for spec in manifest.inputs],
        "outputs": [_tensor(spec) | _alike(packed, spec) for spec in manifest.outputs],
        "example": example_body(artifact),
        "table": form_of(manifest.inputs, artifact.golden_inputs()),
        "texts": [{"name": form.name, "label": form.label, "example": form.example} for form in texts],
    }


def example_body(artifact: Artifact) -> Any:
    """The first golden request as a body for ``/predict``; ``None`` when its numbers are too many to show.

    A table's is a list of one record.
    """
    inputs = artifact.manifest.inputs
    if is_table(inputs):
        return [record] if (record := _record(inputs, artifact.golden_inputs())) is not None else None
    shown: dict[str, Any] = {}
    for name, (spec, array) in first_example(inputs, artifact.golden_inputs()).items():
        content = content_of(spec)
        if content is not None and content.textual:
            shown[name] = [content.encode(row).decode() for row in array]
        elif _too_many(spec, array):
            return None
        else:
            shown[name] = _numbers(array)
    return shown


def form_of(specs: Sequence[TensorSpec], batch: Mapping[str, Array]) -> list[dict[str, Any]] | None:
    """The columns of a table, for a form: name, kind, what it may hold, and the value of the first golden request.

    Returns:
        ``None`` for a model that takes no table, or one of too many columns.
    """
    record = _record(specs, batch) if is_table(specs) else None
    if record is None:
        return None
    return [
        {
            "name": column.name,
            "kind": _kind(column),
            "categories": column.categories,
            "others": column.dtype == "string" or column.unknown is not None,
            "missing": column.missing,
            "minimum": column.minimum,
            "maximum": column.maximum,
            "unit": column.unit,
            "description": column.description,
            "example": record[column.name],
        }
        for spec in specs
        for column in spec.columns or (spec,)
    ]


def _kind(column: TensorSpec) -> str:
    if column.codes is not None:
        return "category"
    return {"O": "text", "b": "flag", "f": "number"}.get(column.numpy_dtype.kind, "integer")


def _record(specs: Sequence[TensorSpec], batch: Mapping[str, Array]) -> dict[str, Any] | None:
    """The first row of a table by column; ``None`` where it has too many. Codes are written as their categories."""
    if sum(len(spec.columns) or 1 for spec in specs) > _LARGEST_EXAMPLE:
        return None
    record: dict[str, Any] = {}
    for spec in specs:
        values = _numbers(batch[spec.name][0].reshape(-1))
        for column, value in zip(spec.columns or (spec,), values, strict=True):
            record[column.name] = _named(column, value)
    return record


def _named(spec: TensorSpec, code: Any) -> Any:
    if spec.codes is None or spec.categories is None:
        return code
    if 0 <= code < len(spec.categories):
        return spec.categories[code]
    return None if spec.missing else code


def form_fields(artifact: Artifact) -> list[dict[str, Any]]:
    """The fields of a form for ``/predict``: the kind of file that each takes, or an example of its numbers.

    Empty for a model that takes no files.
    """
    first = first_example(artifact.manifest.inputs, artifact.golden_inputs())
    if not any(content_of(spec) for spec, _ in first.values()):
        return []
    fields: list[dict[str, Any]] = []
    for name, (spec, array) in first.items():
        content = content_of(spec)
        field: dict[str, Any] = {"name": name, "file": content.describe() if content else None}
        if content is None and not _too_many(spec, array):
            field["example"] = _numbers(array[0] if spec.batched else array)
        fields.append(field)
    return fields


def example_bodies(artifact: Artifact) -> tuple[Any, dict[str, Any] | None]:
    """The first golden request as bodies for ``/predict`` and for the Open Inference Protocol.

    Texts are as they are, and other encoded files in base64. Both are ``None`` when there is too much to show.
    """
    plain: dict[str, Any] = {}
    tensors = []
    for name, (spec, array) in first_example(artifact.manifest.inputs, artifact.golden_inputs()).items():
        content = content_of(spec)
        if content is not None:
            files = [content.encode(row) for row in array]
            encoded = [file.decode() if content.textual else base64.b64encode(file).decode() for file in files]
            if sum(map(len, encoded)) > _LARGEST_FILES:
                return None, None
            plain[name] = encoded
            tensors.append({"name": name, "datatype": BYTES, "shape": [len(encoded)], "data": encoded})
        elif _too_many(spec, array):
            return None, None
        else:
            plain[name] = _numbers(array)
            shape = list(array.shape)
            tensors.append({"name": name, "datatype": TO_V2[spec.dtype], "shape": shape, "data": plain[name]})
    return example_body(artifact) or plain, {"inputs": tensors}


def _too_many(spec: TensorSpec, array: Array) -> bool:
    size = sum(map(len, array.ravel().tolist())) // 8 if array.dtype.kind == "O" else array.size
    return size > _LARGEST_EXAMPLE * (1 if spec.batched else 16)


def _numbers(array: Array) -> Any:
    if array.dtype.kind == "O":
        return array.tolist()
    # By way of JSON, which writes a float32 in as few digits as tell it from the next.
    return orjson.loads(orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY))


def first_example(specs: Sequence[TensorSpec], batch: Mapping[str, Array]) -> dict[str, tuple[TensorSpec, Array]]:
    """Cut the first example out of a batch, without optional inputs; ragged tensors without owners are left whole."""
    first, _ = next(separate(specs, (), batch, {}))
    kept = [spec for spec in specs if not spec.optional]
    return {spec.name: (spec, first[spec.name][None] if spec.batched else first[spec.name]) for spec in kept}


def _alike(packed: PackedVariant, spec: TensorSpec) -> dict[str, Any]:
    """How alike the answers of this variant are to those of fp32, where the output's kind has a measure of it."""
    alike = packed.measurement.similarity.get(spec.name) if packed.measurement else None
    return {} if alike is None else {"similarity": alike.model_dump()}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    fields = spec.model_dump(mode="json", exclude_defaults=True)
    if spec.content == "image":
        fields["preprocess"] = (spec.preprocess or DEFAULT).model_dump(mode="json")
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} | fields
