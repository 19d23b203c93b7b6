"""Encode inputs as requests and decode answers: the client's side of the protocols."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from lading.protocol.datatypes import BYTES, FROM_V2, TO_V2, raw_bytes
from lading.protocol.proto import inference_pb2 as pb
from lading.spec import Array

JSON_LENGTH = "inference-header-content-length"
"""Header with the length of the JSON in a body; raw tensors follow it."""
JSON = "application/json"
RAW = "application/octet-stream"

Value = Array | bytes | str
Inputs = Mapping[str, Value]
"""Inputs by name. ``bytes`` are one encoded file, such as a JPEG, and ``str`` one text: an element of type BYTES, of
shape (1)."""


@dataclass(frozen=True)
class Request:
    """One HTTP POST, ready to be sent."""

    path: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def predict_request(inputs: Inputs) -> Request:
    """``POST /predict``: each input's values as nested lists."""
    return Request("/predict", _json({name: _values(value) for name, value in inputs.items()}), {"content-type": JSON})


def json_request(model: str, inputs: Inputs) -> Request:
    """The Open Inference Protocol, values as flat lists."""
    tensors = [_header(name, value) | {"data": _values(value, flat=True)} for name, value in inputs.items()]
    return Request(_infer_path(model), _json({"inputs": tensors}), {"content-type": JSON})


def binary_request(model: str, inputs: Inputs, *, binary_outputs: bool = True) -> Request:
    """The Open Inference Protocol with its binary tensor extension: raw tensors after the JSON.

    Args:
        model: its name.
        inputs: to send.
        binary_outputs: request raw outputs too.
    """
    raw = [_raw(value) for value in inputs.values()]
    content: dict[str, Any] = {
        "inputs": [
            _header(name, value) | {"parameters": {"binary_data_size": len(data)}}
            for (name, value), data in zip(inputs.items(), raw, strict=True)
        ]
    }
    if binary_outputs:
        content["parameters"] = {"binary_data_output": True}
    head = _json(content)
    headers = {JSON_LENGTH: str(len(head)), "content-type": RAW}
    return Request(_infer_path(model), b"".join([head, *raw]), headers)


def grpc_request(model: str, inputs: Inputs) -> pb.ModelInferRequest:
    """The Open Inference Protocol over gRPC, with raw tensors."""
    tensors = [pb.ModelInferRequest.InferInputTensor(**_header(name, value)) for name, value in inputs.items()]
    raw = [_raw(value) for value in inputs.values()]
    return pb.ModelInferRequest(model_name=model, inputs=tensors, raw_input_contents=raw)


def read_predict(body: bytes) -> dict[str, Array]:
    """Outputs of an answer of ``/predict``, in the dtypes that numpy gives JSON's numbers.

    Raises:
        ValueError, KeyError, TypeError: the answer has another form.
    """
    return {name: np.asarray(values) for name, values in orjson.loads(body)["outputs"].items()}


def read_infer(body: bytes, json_length: str | None) -> dict[str, Array]:
    """Outputs of an answer of the Open Inference Protocol over REST, in the dtypes that it names.

    Args:
        body: JSON, perhaps with raw tensors after it.
        json_length: value of the header :data:`JSON_LENGTH`; ``None`` when the body is JSON alone.

    Raises:
        ValueError, KeyError, TypeError: the answer has another form.
    """
    at = len(body) if json_length is None else int(json_length)
    outputs: dict[str, Array] = {}
    for output in orjson.loads(body[:at])["outputs"]:
        size = (output.get("parameters") or {}).get("binary_data_size")
        if size is None:
            values = np.asarray(output["data"], FROM_V2.get(output["datatype"], "O"))
        else:
            values = _from_raw(output["datatype"], body[at : at + size])
            at += size
        outputs[output["name"]] = values.reshape(output["shape"])
    return outputs


def read_grpc(answer: pb.ModelInferResponse) -> dict[str, Array]:
    """Outputs of an answer over gRPC to a request with raw tensors.

    Raises:
        ValueError, KeyError: an output is not raw, or its bytes do not fill its shape.
    """
    return {
        output.name: _from_raw(output.datatype, raw).reshape(list(output.shape))
        for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }


def _infer_path(model: str) -> str:
    return f"/v2/models/{model}/infer"


def _header(name: str, value: Value) -> dict[str, Any]:
    if isinstance(value, bytes | str):
        return {"name": name, "datatype": BYTES, "shape": [1]}
    datatype = BYTES if value.dtype.kind in "OU" else TO_V2[str(value.dtype)]
    return {"name": name, "datatype": datatype, "shape": list(value.shape)}


def _values(value: Value, *, flat: bool = False) -> Any:
    if isinstance(value, bytes):
        return [base64.b64encode(value).decode()]
    if isinstance(value, str):
        return [value]
    if value.dtype.kind in "OU":
        return (value.ravel() if flat else value).tolist()
    # orjson takes neither half floats nor strided arrays.
    array = np.ascontiguousarray(value, np.float32 if value.dtype == np.float16 else None)
    return array.ravel() if flat else array


def _json(content: object) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _raw(value: Value) -> bytes:
    # The protocol writes an element of type BYTES as its length in four bytes, and then the element.
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(4, "little") + data if isinstance(data, bytes) else raw_bytes(data)


def _from_raw(datatype: str, raw: bytes) -> Array:
    if datatype == BYTES:
        return np.asarray([text.decode() for text in _elements(raw)], dtype=object)
    return np.frombuffer(raw, np.dtype(FROM_V2[datatype]).newbyteorder("<"))


def _elements(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        yield raw[at + 4 : end]
        at = end
