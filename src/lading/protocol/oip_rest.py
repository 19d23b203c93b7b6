"""Requests and answers of the Open Inference Protocol over REST: JSON, or JSON and raw tensors after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from lading.content import from_base64
from lading.errors import InputNameError, InputShapeError, InputTypeError, RequestError
from lading.manifest import ModelInfo
from lading.protocol.codec import JSON, Encoded
from lading.protocol.datatypes import BYTES, TO_V2
from lading.protocol.json_values import parse_object, refuse_not_finite
from lading.protocol.oip import from_raw, from_values, spec_of, with_owners
from lading.spec import Array, TensorSpec

JSON_LENGTH = b"inference-header-content-length"
_LONGEST_ID = 1024


class OipRestCodec:
    """One request of the protocol and its answer; reading it says which outputs are wanted, and how.

    Args:
        model: which tensors it takes and gives.
        headers: one of them says where the JSON ends; without it, the body is JSON alone.
        max_pixels: most pixels of one encoded picture.
    """

    brief = True

    def __init__(self, model: ModelInfo, headers: Mapping[bytes, bytes], max_pixels: int) -> None:
        self.model, self.max_pixels = model, max_pixels
        self.json_length = headers.get(JSON_LENGTH)
        self.message_id: str | None = None
        self.outputs: tuple[tuple[str, bool], ...] = ()
        """Names of the requested outputs, and whether each is requested as raw bytes; empty: all of them."""
        self.binary = False
        """Outputs that are not named are wanted as raw bytes."""

    def read(self, content_bytes: bytes) -> dict[str, Array]:
        """Parse the body into the model's inputs. Runs in a lane.

        Raises:
            RequestError: the body is not what the protocol says; the sentence names the field.
            BodyTooLargeError: a picture of too many pixels.
        """
        body = memoryview(content_bytes)
        length = _json_length(self.json_length, len(body))
        if length == 0:
            return self._raw_form(body)
        content = parse_object(bytes(body[:length]), "a JSON object with the list 'inputs'")
        self.message_id = _id(content)
        parameters = _parameters(content, "the request")
        self.binary = parameters.get("binary_data_output") is True
        self.outputs = self._wanted(content.get("outputs"))
        arrays = self._inputs(content.get("inputs"), body[length:])
        return with_owners(self.model.inputs, arrays, self.model.max_batch)

    def write(self, outputs: Mapping[str, Array]) -> Encoded:
        """Headers and body of the answer.

        Raises:
            UnanswerableError: a value that JSON has no number for; as raw bytes it could be sent.
        """
        model = self.model
        content: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
        if self.message_id is not None:
            content["id"] = self.message_id
        content["parameters"] = {"variant": model.variant}
        tensors, raw = [], []
        for name, binary in self.outputs or tuple((spec.name, self.binary) for spec in model.outputs):
            array = np.ascontiguousarray(outputs[name])
            tensor: dict[str, Any] = {"name": name, "datatype": TO_V2[_dtype(model, name)], "shape": list(array.shape)}
            if binary:
                data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
                tensor["parameters"] = {"binary_data_size": len(data)}
                raw.append(data)
            else:
                refuse_not_finite({name: array})
                # numpy's half floats are not numbers to orjson.
                tensor["data"] = (array.astype(np.float32) if array.dtype == np.float16 else array).ravel()
            tensors.append(tensor)
        content["outputs"] = tensors
        head = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
        if not raw:
            return Encoded(JSON, head)
        headers = [(b"content-type", b"application/octet-stream"), (JSON_LENGTH, str(len(head)).encode())]
        return Encoded(headers, b"".join([head, *raw]))

    def _inputs(self, tensors: Any, raw: memoryview) -> dict[str, Array]:
        if not isinstance(tensors, list) or not tensors:
            raise RequestError("'inputs' is missing: send a list of objects with name, shape, datatype and data")
        arrays: dict[str, Array] = {}
        at = 0
        for tensor in tensors:
            if not isinstance(tensor, dict):
                raise RequestError("an entry of 'inputs' is not an object with name, shape, datatype and data")
            spec = spec_of(self.model.inputs, tensor.get("name"))
            if spec.name in arrays:
                raise InputNameError(f"input {spec.name!r} is sent twice")
            size = _parameters(tensor, f"input {spec.name!r}").get("binary_data_size")
            if size is None:
                arrays[spec.name] = self._values(spec, tensor)
                continue
            if type(size) is not int or not 0 <= size <= len(raw) - at:
                raise RequestError(
                    f"input {spec.name!r} has binary_data_size {size!r}; {len(raw) - at} bytes are left after the JSON"
                )
            datatype, shape = _declared(spec, tensor)
            arrays[spec.name] = from_raw(spec, datatype, shape, raw[at : at + size], self.max_pixels)
            at += size
        if at != len(raw):
            raise RequestError(f"{len(raw) - at} bytes after the JSON belong to no input (binary_data_size)")
        return arrays

    def _values(self, spec: TensorSpec, tensor: dict[str, Any]) -> Array:
        datatype, shape = _declared(spec, tensor)
        values = tensor.get("data")
        if not isinstance(values, list):
            raise RequestError(f"input {spec.name!r} has no 'data': send a list, or binary_data_size and raw bytes")
        if datatype == BYTES:
            values = [from_base64(spec, row, value) for row, value in enumerate(_innermost(values))]
        return from_values(spec, datatype, shape, values, self.max_pixels)

    def _raw_form(self, body: memoryview) -> dict[str, Array]:
        """The body is the one input's bytes and nothing else; its shape follows from the model's and their number."""
        self.binary = True
        wanted = [spec for spec in self.model.inputs if not spec.owner_of]
        if len(wanted) != 1:
            raise RequestError(f"{JSON_LENGTH.decode()}: 0 is for models with one input; this one has {len(wanted)}")
        spec = wanted[0]
        free = [axis for axis, dim in enumerate(spec.shape) if isinstance(dim, str)]
        row = spec.numpy_dtype.itemsize
        for dim in spec.shape:
            row *= dim if isinstance(dim, int) else 1
        if spec.content is not None and (len(body) % row or not body):
            array = from_raw(spec, BYTES, [1], len(body).to_bytes(4, "little") + bytes(body), self.max_pixels)
        elif len(free) != 1 or len(body) % row:
            raise RequestError(f"input {spec.name!r} has {len(body)} bytes, which is no whole number of {row} bytes")
        else:
            shape = [dim if isinstance(dim, int) else len(body) // row for dim in spec.shape]
            array = from_raw(spec, TO_V2[spec.dtype], shape, body, self.max_pixels)
        return with_owners(self.model.inputs, {spec.name: array}, self.model.max_batch)

    def _wanted(self, outputs: Any) -> tuple[tuple[str, bool], ...]:
        if outputs is None or outputs == []:
            return ()
        if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
            raise RequestError("'outputs' is not a list of objects, each with the name of an output")
        names = [spec.name for spec in self.model.outputs]
        wanted = []
        for output in outputs:
            name = output.get("name")
            if name not in names:
                raise RequestError(f"unknown output {name!r}; the outputs are: {', '.join(names)}")
            binary = _parameters(output, f"output {name!r}").get("binary_data", self.binary)
            wanted.append((name, binary is True))
        return tuple(wanted)


def _json_length(header: bytes | None, size: int) -> int:
    if header is None:
        return size
    if not header.isdigit() or int(header) > size:
        raise RequestError(
            f"{JSON_LENGTH.decode()} is {header.decode('latin-1')!r}; it is the length of the JSON at the start of "
            f"the body, which has {size} bytes"
        )
    return int(header)


def _id(content: dict[str, Any]) -> str | None:
    sent = content.get("id")
    if sent is None:
        return None
    if not isinstance(sent, str) or len(sent) > _LONGEST_ID:
        raise RequestError(f"'id' is not a string of at most {_LONGEST_ID} characters")
    return sent


def _parameters(holder: dict[str, Any], where: str) -> dict[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise RequestError(f"'parameters' of {where} is not an object")
    return parameters


def _declared(spec: TensorSpec, tensor: dict[str, Any]) -> tuple[str, list[int]]:
    datatype, shape = tensor.get("datatype"), tensor.get("shape")
    if not isinstance(datatype, str):
        raise InputTypeError(f"input {spec.name!r} has no 'datatype'; the model takes {TO_V2[spec.dtype]}")
    if not isinstance(shape, list) or any(type(size) is not int for size in shape):
        raise InputShapeError(f"input {spec.name!r} has no 'shape': send a list of integers")
    return datatype, shape


def _innermost(values: list[Any]) -> list[Any]:
    """BYTES may be nested as [n, 1]."""
    if values and all(isinstance(value, list) for value in values):
        return [element for value in values for element in value]
    return values


def _dtype(model: ModelInfo, name: str) -> str:
    return next(spec.dtype for spec in model.outputs if spec.name == name)
