"""Request bodies for each kind of user, made from the model's signature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lading.content import content_of
from lading.deploy.load.shapes import Kind
from lading.deploy.load.signature import Signature
from lading.protocol.client_codec import Inputs, Request, binary_request, grpc_request, json_request, predict_request
from lading.spec import Array, TensorSpec
from lading.tensors.random import random_inputs

INPUTS = 16
"""Number of different inputs, sent in turn."""
ROWS = 12
"""Size of a ragged dim that the signature leaves open: a small graph."""


def examples(signature: Signature, files: Sequence[bytes] = ()) -> list[dict[str, Array | bytes]]:
    """Valid inputs: the recorded requests first, then random ones.

    Args:
        signature: of the model.
        files: encoded files such as pictures for inputs that take them; default: random ones.

    Returns:
        :data:`INPUTS` mappings with a batch dim and without owner vectors. Encoded content is the bytes of its file.
    """
    rng = np.random.default_rng(0)
    sizes = {dim: _size(dim, signature.inputs) for spec in signature.inputs for dim in spec.symbolic_dims}
    sent = [spec for spec in signature.inputs if spec.owner_of is None]
    made: list[dict[str, Array | bytes]] = []
    for turn in range(INPUTS):
        recorded = signature.recorded[turn] if turn < len(signature.recorded) else None
        arrays = recorded or random_inputs(signature.inputs, sizes, rng)
        example: dict[str, Array | bytes] = {spec.name: arrays[spec.name] for spec in sent}
        for place, spec in enumerate(sent):
            content = content_of(spec)
            if content is None:
                continue
            if own := [file for file in files if content.sniff(file)] or files:
                example[spec.name] = own[(turn + place) % len(own)]
            else:
                example[spec.name] = (
                    content.encode(recorded[spec.name][0], spec) if recorded else content.draw(spec, rng)
                )
        made.append(example)
    return made


def bodies(signature: Signature, kind: Kind, inputs: Sequence[Inputs]) -> list[Request]:
    """The inputs as requests of one kind. Those for gRPC have an empty path."""
    return [_request(signature, kind, one) for one in inputs]


def _request(signature: Signature, kind: Kind, inputs: Inputs) -> Request:
    match kind:
        case "v2-json":
            return json_request(signature.name, inputs)
        case "v2-binary":
            return binary_request(signature.name, inputs)
        case "grpc":
            return Request("", grpc_request(signature.name, inputs).SerializeToString())
        case "plain" if signature.classifies:
            (file,) = inputs.values()
            content = content_of(signature.inputs[0])
            assert content is not None
            assert isinstance(file, bytes)
            return Request("/classify", file, {"content-type": content.media_types[0]})
        case "plain":
            return predict_request(inputs)


def _size(dim: str, specs: Sequence[TensorSpec]) -> int:
    if dim == "batch":
        return 1
    bounds = [spec.max_rows for spec in specs if spec.max_rows and dim == spec.shape[spec.ragged_axis]]
    return min([ROWS, *bounds])
