"""Request bodies for a model, made from its signature: what each kind of user sends."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from lading.deploy.load.shapes import Kind
from lading.deploy.load.signature import Signature
from lading.protocol.client_codec import Inputs, Request, binary_request, grpc_request, json_request, predict_request
from lading.spec import Array, TensorSpec
from lading.tensors.random import random_inputs

INPUTS = 16
"""Different inputs that are sent in turn."""
ROWS = 12
"""Size of a ragged dim whose size the signature leaves open: a small graph."""


def examples(signature: Signature, pictures: Sequence[bytes] = ()) -> list[dict[str, Array | bytes]]:
    """Inputs that keep the signature's rules: its recorded requests first, then drawn ones.

    Args:
        signature: what the model takes.
        pictures: encoded pictures to send where it takes pictures; else drawn ones are encoded as JPEG.

    Returns:
        :data:`INPUTS` mappings, batch dim included, owner vectors left out; an image is its file's bytes.
    """
    rng = np.random.default_rng(0)
    sizes = {dim: _size(dim, signature.inputs) for spec in signature.inputs for dim in spec.symbolic_dims}
    arrays = [dict(given) for given in signature.recorded]
    while len(arrays) < INPUTS:
        arrays.append(random_inputs(signature.inputs, sizes, rng))
    sent = [spec for spec in signature.inputs if spec.owner_of is None]
    return [
        {spec.name: _encoded(spec, array[spec.name], pictures, turn) for spec in sent}
        for turn, array in enumerate(arrays[:INPUTS])
    ]


def bodies(signature: Signature, kind: Kind, inputs: Sequence[Inputs]) -> list[Request]:
    """The same inputs as requests of a kind; those of gRPC have an empty path."""
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
            (picture,) = inputs.values()
            assert isinstance(picture, bytes)
            return Request("/classify", picture, {"content-type": "image/jpeg"})
        case "plain":
            return predict_request(inputs)


def _size(dim: str, specs: Sequence[TensorSpec]) -> int:
    if dim == "batch":
        return 1
    bounds = [spec.max_rows for spec in specs if spec.max_rows and dim == spec.shape[spec.ragged_axis]]
    return min([ROWS, *bounds])


def _encoded(spec: TensorSpec, array: Array, pictures: Sequence[bytes], turn: int) -> Array | bytes:
    if spec.content != "image":
        return array
    if pictures:
        return pictures[turn % len(pictures)]
    file = io.BytesIO()
    Image.fromarray(array[0]).save(file, "JPEG", quality=90)
    return file.getvalue()
