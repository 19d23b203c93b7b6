"""Request bodies for each kind of user, made from the model's signature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lading.content import content_of
from lading.deploy.load.shapes import Kind
from lading.deploy.load.signature import Signature
from lading.protocol.client_codec import (
    Inputs,
    Request,
    Value,
    binary_request,
    grpc_request,
    json_request,
    predict_request,
)
from lading.spec import TensorSpec
from lading.tensors.lengths import Lengths
from lading.tensors.random import random_inputs

INPUTS = 16
"""Number of different inputs, sent in turn."""
ROWS = 12
"""Size of a ragged dim that the signature leaves open: a small graph."""


def examples(signature: Signature, files: Sequence[bytes] = ()) -> list[dict[str, Value]]:
    """Valid inputs: the recorded requests first, then random ones.

    Args:
        signature: of the model.
        files: encoded files such as pictures for inputs that take them; default: random ones.

    Returns:
        :data:`INPUTS` mappings with a batch dim and without optional inputs. Encoded content is the
        bytes of its file, and text a string.
    """
    rng = np.random.default_rng(0)
    sizes = {dim: _size(dim, signature.inputs) for spec in signature.inputs for dim in spec.symbolic_dims}
    lengths = Lengths(tuple(signature.inputs))
    sizes |= lengths.measured()[0] if lengths.pictures else {}
    sent = [spec for spec in signature.inputs if not spec.optional]
    made: list[dict[str, Value]] = []
    for turn in range(INPUTS):
        recorded = signature.recorded[turn] if turn < len(signature.recorded) else None
        arrays = recorded or random_inputs(signature.inputs, sizes, rng)
        example: dict[str, Value] = {spec.name: arrays[spec.name] for spec in sent}
        for place, spec in enumerate(sent):
            content = content_of(spec)
            if content is None:
                continue
            if own := [file for file in files if content.sniff(file)] or files:
                file = own[(turn + place) % len(own)]
            else:
                file = content.encode(recorded[spec.name][0]) if recorded else content.draw(spec, rng)
            example[spec.name] = file.decode() if content.textual else file
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
            content = next(content for spec in signature.inputs if (content := content_of(spec)) is not None)
            assert isinstance(file, bytes | str)
            body = file.encode() if isinstance(file, str) else file
            return Request("/classify", body, {"content-type": content.media_types[0]})
        case "plain":
            return predict_request(inputs)


def _size(dim: str, specs: Sequence[TensorSpec]) -> int:
    if dim == "batch":
        return 1
    bounds = [spec.max_rows for spec in specs if spec.max_rows and dim == spec.shape[spec.ragged_axis]]
    lengths = [spec.padding.max_length for spec in specs if spec.padding and dim == spec.padded_dim]
    return min([ROWS, *bounds, *lengths])
