"""Tensors of the gRPC protocol to arrays and back: raw bytes, or typed contents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lading.errors import InputNameError, InputTypeError, RequestError
from lading.manifest import ModelInfo
from lading.protocol.datatypes import TO_V2
from lading.protocol.oip import from_raw, from_values, spec_of, with_owners
from lading.protocol.proto import inference_pb2 as pb
from lading.spec import Array

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field that holds a datatype's values; FP16 has none and is sent raw."""


class OipGrpcCodec:
    """One message of the protocol and its answer.

    Args:
        model: its inputs and outputs.
        max_pixels: maximum of one encoded picture.
    """

    brief = True

    def __init__(self, model: ModelInfo, _headers: Mapping[bytes, bytes], max_pixels: int) -> None:
        self.message_id: str | None = None
        self._model, self._max_pixels = model, max_pixels
        self._raw = False
        self._wanted: list[str] = []

    def read(self, body: pb.ModelInferRequest) -> dict[str, Array]:
        """Turn a message into the model's inputs. Runs in a lane.

        Raises:
            RequestError: the message is not what the protocol says; the sentence names the tensor.
            BodyTooLargeError: a picture of too many pixels.
        """
        raw = body.raw_input_contents
        self.message_id = body.id
        self._raw, self._wanted = bool(raw), [output.name for output in body.outputs]
        if raw and len(raw) != len(body.inputs):
            raise RequestError(f"there are {len(body.inputs)} inputs and {len(raw)} raw_input_contents: send one each")
        model, arrays = self._model, dict[str, Array]()
        for place, tensor in enumerate(body.inputs):
            spec = spec_of(model.inputs, tensor.name)
            if spec.name in arrays:
                raise InputNameError(f"input {spec.name!r} is sent twice")
            shape = list(tensor.shape)
            if raw:
                arrays[spec.name] = from_raw(spec, tensor.datatype, shape, raw[place], self._max_pixels)
            else:
                values = _contents(tensor.datatype, tensor.name, tensor.contents)
                arrays[spec.name] = from_values(spec, tensor.datatype, shape, values, self._max_pixels)
        return with_owners(model.inputs, arrays, model.max_batch)

    def write(self, outputs: Mapping[str, Array]) -> pb.ModelInferResponse:
        """The answer: raw where the request was, typed contents otherwise; only the requested outputs.

        Raises:
            RequestError: the model has no such output.
        """
        model = self._model
        specs = {spec.name: spec for spec in model.outputs}
        wanted = self._wanted or list(specs)
        for name in wanted:
            if name not in specs:
                raise RequestError(f"unknown output {name!r}; the outputs are: {', '.join(specs)}")
        # FP16 has no typed contents, and the protocol knows no mixture: one such output makes all of them raw.
        raw = self._raw or any(TO_V2[specs[name].dtype] not in CONTENTS for name in wanted)
        response = pb.ModelInferResponse(model_name=model.name, model_version=model.version, id=self.message_id or "")
        response.parameters["variant"].string_param = model.variant
        for name in wanted:
            array = np.ascontiguousarray(outputs[name])
            datatype = TO_V2[specs[name].dtype]
            tensor = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
            if raw:
                response.raw_output_contents.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
            else:
                getattr(tensor.contents, CONTENTS[datatype]).extend(array.ravel().tolist())
        return response


def _contents(datatype: str, name: str, contents: pb.InferTensorContents) -> list[Any]:
    field = CONTENTS.get(datatype)
    if field is None:
        raise InputTypeError(f"input {name!r} has datatype {datatype!r}, which is sent in raw_input_contents only")
    filled = [one.name for one, _ in contents.ListFields()]
    if filled and filled != [field]:
        raise InputTypeError(f"input {name!r} has datatype {datatype!r} and its values in {filled[0]}, not in {field}")
    return list(getattr(contents, field))
