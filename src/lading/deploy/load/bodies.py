"""Request bodies for a model, made from its signature: what each kind of user sends."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from lading.deploy.load.shapes import Kind
from lading.deploy.load.signature import Signature
from lading.protocol.datatypes import BYTES, TO_V2
from lading.protocol.proto import inference_pb2 as pb
from lading.spec import Array, TensorSpec
from lading.tensors.random import random_inputs

INPUTS = 16
"""Different inputs that are sent in turn."""
ROWS = 12
"""Size of a ragged dim whose size the signature leaves open: a small graph."""


@dataclass(frozen=True)
class Body:
    """One request, ready to be sent; ``path`` is empty for gRPC."""

    path: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


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


def bodies(signature: Signature, kind: Kind, inputs: Sequence[Mapping[str, Array | bytes]]) -> list[Body]:
    """The same inputs as requests of a kind."""
    make = {"plain": _plain, "v2-json": _v2_json, "v2-binary": _v2_binary, "grpc": _grpc}[kind]
    return [make(signature, one) for one in inputs]


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


def _plain(signature: Signature, inputs: Mapping[str, Array | bytes]) -> Body:
    if signature.classifies:
        (picture,) = inputs.values()
        assert isinstance(picture, bytes)
        return Body("/classify", picture, {"content-type": "image/jpeg"})
    content = {name: _numbers(value) for name, value in inputs.items()}
    return Body("/predict", json.dumps(content).encode(), {"content-type": "application/json"})


def _v2_json(signature: Signature, inputs: Mapping[str, Array | bytes]) -> Body:
    tensors = [
        _header(name, value) | {"data": _numbers(value.ravel() if not isinstance(value, bytes) else value)}
        for name, value in inputs.items()
    ]
    content = json.dumps({"inputs": tensors}).encode()
    return Body(_infer(signature), content, {"content-type": "application/json"})


def _v2_binary(signature: Signature, inputs: Mapping[str, Array | bytes]) -> Body:
    raw = [_raw(value) for value in inputs.values()]
    tensors = [
        _header(name, value) | {"parameters": {"binary_data_size": len(content)}}
        for (name, value), content in zip(inputs.items(), raw, strict=True)
    ]
    head = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
    length = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    return Body(_infer(signature), head + b"".join(raw), length)


def _grpc(signature: Signature, inputs: Mapping[str, Array | bytes]) -> Body:
    request = pb.ModelInferRequest(
        model_name=signature.name,
        inputs=[pb.ModelInferRequest.InferInputTensor(**_header(name, value)) for name, value in inputs.items()],
        raw_input_contents=[_raw(value) for value in inputs.values()],
    )
    return Body("", request.SerializeToString())


def _infer(signature: Signature) -> str:
    return f"/v2/models/{signature.name}/infer"


def _header(name: str, value: Array | bytes) -> dict[str, Any]:
    if isinstance(value, bytes):
        return {"name": name, "datatype": BYTES, "shape": [1]}
    return {"name": name, "datatype": TO_V2[str(value.dtype)], "shape": list(value.shape)}


def _numbers(value: Array | bytes) -> object:
    return [base64.b64encode(value).decode()] if isinstance(value, bytes) else value.tolist()


def _raw(value: Array | bytes) -> bytes:
    """Row-major, little-endian; a string has its length in four bytes before it."""
    if isinstance(value, bytes):
        return len(value).to_bytes(4, "little") + value
    return np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
