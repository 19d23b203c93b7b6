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
from lading.protocol.datatypes import BYTES, TO_V2
from lading.protocol.plain import Classifier, are_probabilities, labelled
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
        "digest": artifact.digest,
        "classify": isinstance(classifier, Classifier),
        "file": classifier.content.describe() if isinstance(classifier, Classifier) else None,
        "probabilistic": bool(scored) and are_probabilities(scored, artifact.golden_outputs(packed.variant.name)),
        "fields": [] if isinstance(classifier, Classifier) else form_fields(artifact),
        "inputs": [_tensor(spec) for spec in manifest.inputs],
        "outputs": [_tensor(spec) | _alike(packed, spec) for spec in manifest.outputs],
        "example": example_body(artifact),
        "texts": [{"name": form.name, "label": form.label, "example": form.example} for form in texts],
    }


def example_body(artifact: Artifact) -> dict[str, Any] | None:
    """The first golden request as a body for ``/predict``; ``None`` when its numbers are too many to show."""
    first = first_example(artifact.manifest.inputs, artifact.golden_inputs())
    if any(_too_many(spec, array) for spec, array in first.values()):
        return None
    return {name: _numbers(array) for name, (_, array) in first.items()}


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


def example_bodies(artifact: Artifact) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The first golden request as bodies for ``/predict`` and for the Open Inference Protocol.

    Encoded files are in base64. Both are ``None`` when there is too much to show.
    """
    plain: dict[str, Any] = {}
    tensors = []
    for name, (spec, array) in first_example(artifact.manifest.inputs, artifact.golden_inputs()).items():
        content = content_of(spec)
        if content is not None:
            encoded = [base64.b64encode(content.encode(row, spec)).decode() for row in array]
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
    return plain, {"inputs": tensors}


def _too_many(spec: TensorSpec, array: Array) -> bool:
    return array.size > _LARGEST_EXAMPLE * (1 if spec.batched else 16)


def _numbers(array: Array) -> Any:
    # By way of JSON, which writes a float32 in as few digits as tell it from the next.
    return orjson.loads(orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY))


def first_example(specs: Sequence[TensorSpec], batch: Mapping[str, Array]) -> dict[str, tuple[TensorSpec, Array]]:
    """Cut the first example out of a batch, without its owner vector; ragged tensors without owners are left whole."""
    first, _ = next(separate(specs, (), batch, {}))
    kept = [spec for spec in specs if not spec.owner_of]
    return {spec.name: (spec, first[spec.name][None] if spec.batched else first[spec.name]) for spec in kept}


def _alike(packed: PackedVariant, spec: TensorSpec) -> dict[str, Any]:
    """How alike the answers of this variant are to those of fp32, where the output's kind has a measure of it."""
    alike = packed.measurement.similarity.get(spec.name) if packed.measurement else None
    return {} if alike is None else {"similarity": alike.model_dump()}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    fields = spec.model_dump(mode="json", exclude_defaults=True)
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} | fields
