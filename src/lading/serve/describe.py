"""``GET /model``: what is served, as the page shows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from lading.artifact import Artifact, PackedVariant
from lading.serve.classify import Classifier
from lading.spec import Array, TensorSpec

_LARGEST_EXAMPLE = 64  # numbers; a longer list is not something to read or to type


def describe_model(artifact: Artifact, packed: PackedVariant, classifier: Classifier | str) -> dict[str, Any]:
    """Name, version, variant, digest, tensors, and a body that ``/predict`` answers."""
    manifest = artifact.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "variant": packed.variant.name,
        "precision": packed.precision,
        "digest": artifact.digest,
        "classify": isinstance(classifier, Classifier),
        "probabilistic": isinstance(classifier, Classifier) and classifier.probabilistic,
        "inputs": [_tensor(spec) for spec in manifest.inputs],
        "outputs": [_tensor(spec) for spec in manifest.outputs],
        "example": example_body(artifact),
    }


def example_body(artifact: Artifact) -> dict[str, Any] | None:
    """The first golden request as a body for ``/predict``; ``None`` when its numbers are too many to show.

    A ragged golden batch cannot be cut without knowing what belongs together, so it is shown whole.
    """
    golden = artifact.golden_inputs()
    body: dict[str, Any] = {}
    for spec in artifact.manifest.inputs:
        array: Array = golden[spec.name][:1] if spec.batched and not spec.owner_of else golden[spec.name]
        if array.size > _LARGEST_EXAMPLE * (1 if spec.batched else 16):
            return None
        # By way of JSON, which writes a float32 in as few digits as tell it from the next.
        body[spec.name] = orjson.loads(orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY))
    return body


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    fields = spec.model_dump(mode="json", exclude_defaults=True)
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} | fields
