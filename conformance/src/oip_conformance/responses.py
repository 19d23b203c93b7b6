"""What responses say: a model's metadata, and the outputs of an inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oip_conformance.proto import oip_pb2 as pb
from oip_conformance.statement import require, shown
from oip_conformance.tensors import Tensor, TensorMetadata, described, from_contents, from_json, from_raw


@dataclass(frozen=True)
class ModelMetadata:
    """What the server says about the model."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


def metadata_of(content: Mapping[str, Any]) -> ModelMetadata:
    """Read what is there; the statements about metadata check the rest.

    Raises:
        Failed: a tensor without name, datatype or shape.
    """
    versions = content.get("versions")
    return ModelMetadata(
        str(content.get("name")),
        tuple(version for version in versions if isinstance(version, str)) if isinstance(versions, list) else (),
        str(content.get("platform") or ""),
        tuple(_tensor_of(tensor) for tensor in content.get("inputs") or ()),
        tuple(_tensor_of(tensor) for tensor in content.get("outputs") or ()),
    )


def _tensor_of(sent: Any) -> TensorMetadata:
    require(isinstance(sent, dict), f"a tensor of the metadata is {shown(sent)}")
    name, datatype, shape = sent.get("name"), sent.get("datatype"), sent.get("shape")
    sizes = isinstance(shape, list) and all(type(size) is int for size in shape)
    require(isinstance(name, str) and isinstance(datatype, str) and sizes, f"a tensor's metadata are {shown(sent)}")
    return TensorMetadata(str(name), str(datatype), tuple(shape or ()))


def metadata_of_message(message: pb.ModelMetadataResponse) -> ModelMetadata:
    """The same from a gRPC response."""
    inputs, outputs = (
        tuple(TensorMetadata(tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in tensors)
        for tensors in (message.inputs, message.outputs)
    )
    return ModelMetadata(message.name, tuple(message.versions), message.platform, inputs, outputs)


def outputs_of(content: Mapping[str, Any]) -> list[Tensor]:
    """The outputs of a REST response with JSON data.

    Raises:
        Failed: they are not as the protocol says.
    """
    outputs = content.get("outputs")
    require(isinstance(outputs, list), f"the response's `outputs` is {shown(outputs)}, not a list")
    return [from_json(output) for output in outputs or []]


def outputs_of_message(message: pb.ModelInferResponse) -> list[Tensor]:
    """The outputs of a gRPC response, raw or typed.

    Raises:
        Failed: they are not as the protocol says.
    """
    raw = message.raw_output_contents
    if raw:
        require(len(raw) == len(message.outputs), f"{len(raw)} raw contents for {len(message.outputs)} outputs")
    tensors = []
    for at, output in enumerate(message.outputs):
        shape = list(output.shape)
        described({"name": output.name, "datatype": output.datatype, "shape": shape})
        if raw:
            tensors.append(from_raw(output.name, output.datatype, shape, raw[at]))
        else:
            tensors.append(from_contents(output.name, output.datatype, shape, output.contents))
    return tensors
