"""``GET /model``: what is served, as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from lading.artifact import Artifact
from lading.manifest import PackedVariant
from lading.protocol.plain import Classifier, TextForm
from lading.spec import Array, TensorSpec
from lading.tensors.ragged import separate

_LARGEST_EXAMPLE = 64  # numbers; a longer list is not something to read or to type


def describe_model(
    artifact: Artifact, packed: PackedVariant, classifier: Classifier | str, texts: Sequence[TextForm] = ()
) -> dict[str, Any]:
    """Name, version, variant, digest, tensors, and what requests may look like.

    That is: the kind of file that ``/classify`` takes, a body that ``/predict`` answers, and the texts that it reads.
    """
    manifest = artifact.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "variant": packed.variant.name,
        "precision": packed.precision,
        "digest": artifact.digest,
        "classify": isinstance(classifier, Classifier),
        "file": classifier.content.describe() if isinstance(classifier, Classifier) else None,
        "probabilistic": isinstance(classifier, Classifier) and classifier.probabilistic,
        "inputs": [_tensor(spec) for spec in manifest.inputs],
        "outputs": [_tensor(spec) for spec in manifest.outputs],
        "example": example_body(artifact),
        "texts": [{"name": form.name, "label": form.label, "example": form.example} for form in texts],
    }


def example_body(artifact: Artifact) -> dict[str, Any] | None:
    """The first golden request as a body for ``/predict``; ``None`` when its numbers are too many to show."""
    first = first_example(artifact.manifest.inputs, artifact.golden_inputs())
    if any(array.size > _LARGEST_EXAMPLE * (1 if first_spec.batched else 16) for first_spec, array in first.values()):
        return None
    # By way of JSON, which writes a float32 in as few digits as tell it from the next.
    return {
        name: orjson.loads(orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY))
        for name, (_, array) in first.items()
    }


def first_example(specs: Sequence[TensorSpec], batch: Mapping[str, Array]) -> dict[str, tuple[TensorSpec, Array]]:
    """Cut the first example out of a batch, without its owner vector; ragged tensors without owners are left whole."""
    first, _ = next(separate(specs, (), batch, {}))
    kept = [spec for spec in specs if not spec.owner_of]
    return {spec.name: (spec, first[spec.name][None] if spec.batched else first[spec.name]) for spec in kept}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    fields = spec.model_dump(mode="json", exclude_defaults=True)
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} | fields
