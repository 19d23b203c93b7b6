"""``POST /classify``: a picture in, one label for each labelled output back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lading.artifact import Artifact
from lading.decode import decode_image
from lading.serve.tensor_json import not_finite
from lading.spec import Array, TensorSpec

RESERVED = ("confidence", "probabilities", "scores", "model", "variant")
_PLACES = 6  # more than a float32 softmax is good for, and they keep the answer short


@dataclass(frozen=True)
class Classifier:
    """How an artifact's pictures become answers; there is none for a model that does not classify pictures."""

    model: str
    variant: str
    image: TensorSpec
    outputs: tuple[TensorSpec, ...]
    probabilistic: bool
    """The outputs are probabilities: not negative, and they sum to one. Otherwise they are called scores."""

    def decode(self, picture: bytes, max_pixels: int) -> dict[str, Array]:
        """Encoded picture to the model's input: uint8 (1, height, width, 3).

        Raises:
            RequestError: see :func:`lading.decode.decode_image`.
        """
        height, width = self.image.shape[1], self.image.shape[2]
        assert isinstance(height, int)
        assert isinstance(width, int)
        return {self.image.name: decode_image(picture, height=height, width=width, max_pixels=max_pixels)[None]}

    def answer(self, outputs: Mapping[str, Array]) -> dict[str, Any]:
        """One row of outputs as the client sees it.

        ``confidence`` is the product of the labels' probabilities: how likely all of them are right together, taking
        the outputs as independent. It is left out when the outputs are scores.

        Raises:
            UnanswerableError: a value is not finite.
        """
        answer: dict[str, Any] = {}
        values: dict[str, dict[str, float]] = {}
        joint = 1.0
        for spec in self.outputs:
            row = outputs[spec.name][0].astype(np.float64)
            places = row.round(_PLACES).tolist()
            top = float(row[best := int(row.argmax())])
            if not math.isfinite(sum(places)):
                raise not_finite(spec.name)
            assert spec.labels is not None
            answer[spec.name] = spec.labels[best]
            joint *= top
            values[spec.name] = dict(zip(spec.labels, places, strict=True))
        if self.probabilistic:
            answer["confidence"] = round(min(1.0, joint), _PLACES)
            answer["probabilities"] = values
        else:
            answer["scores"] = values
        return answer | {"model": self.model, "variant": self.variant}


def classifier(artifact: Artifact, variant: str | None = None) -> Classifier | str:
    """Return how to classify pictures with an artifact, or the sentence that says why that cannot be done."""
    manifest = artifact.manifest
    if [spec.content for spec in manifest.inputs] != ["image"]:
        return f"the model {manifest.name!r} does not take one picture"
    outputs = tuple(spec for spec in manifest.outputs if spec.labels and spec.batched and len(spec.shape) == 2)
    if not outputs:
        return f"the model {manifest.name!r} has no output with labels"
    taken = [spec.name for spec in outputs if spec.name in RESERVED]
    if taken:
        return (
            f"the model {manifest.name!r} has an output named {taken[0]!r}, which the answer of /classify uses itself"
        )
    packed = artifact.variant(variant)
    return Classifier(
        model=manifest.name,
        variant=packed.variant.name,
        image=manifest.inputs[0],
        outputs=outputs,
        probabilistic=_are_probabilities(outputs, artifact.golden_outputs(packed.variant.name)),
    )


def _are_probabilities(outputs: tuple[TensorSpec, ...], golden: Mapping[str, Array]) -> bool:
    # An int8 softmax is off by up to 1/256 a label, so sums near one will do.
    rows = [golden[spec.name].astype(np.float64) for spec in outputs]
    return all((row > -1e-3).all() and (np.abs(row.sum(axis=1) - 1.0) < 0.1).all() for row in rows)
