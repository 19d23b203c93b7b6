"""Requests and answers of the Open Inference Protocol over REST: JSON, or JSON and raw tensors after it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from lading.artifact.manifest import ModelInfo
from lading.budget import Budget
from lading.content import content_of, decode_rows
from lading.errors import InputNameError, InputShapeError, InputTypeError, RequestError
from lading.errors.sentences import shown
from lading.protocol.classification import best_classes
from lading.protocol.codec import JSON, Encoded, whole_number
from lading.protocol.datatypes import BYTES, TO_V2, as_json, raw_bytes, raw_strings, v2_shape
from lading.protocol.json_body import parse_object
from lading.protocol.json_values import refuse_not_finite, with_optional
from lading.protocol.oip import WantedOutput, check_id, from_raw, from_values, output_of, spec_of
from lading.protocol.parameters import check_parameters, count_of_classes, flag, limit_time
from lading.spec import Array, TensorSpec

_LONGEST_ACCEPT = 1024
JSON_LENGTH = b"inference-header-content-length"


class OipRestCodec:
    """One request of the protocol and its answer; reading it says which outputs are wanted, and how.

    Args:
        model: which tensors it takes and gives.
        headers: one of them says where the JSON ends; without it, the body is JSON alone.
        budget: what reading it may cost.
    """

    brief = True

    def __init__(self, model: ModelInfo, headers: Mapping[bytes, bytes], budget: Budget) -> None:
        self.model, self.budget, self.begin = model, budget, time.perf_counter()
        self.json_length = headers.get(JSON_LENGTH)
        self._accept = headers.get(b"accept", b"")
        self.message_id: str | None = None
        self.outputs: tuple[WantedOutput, ...] = ()
        """The requested outputs; empty: all of them."""
        self.binary = False
        """Outputs that are not named are wanted as raw bytes."""

    def read(self, content_bytes: bytes) -> dict[str, Array]:
        """Parse the body into the model's inputs. Runs in a lane.

        Raises:
            RequestError: the body is not what the protocol says; the sentence names the field.
            BodyTooLargeError: a picture of too many pixels.
            ExpiredError: the request's own timeout has passed.
        """
        body = memoryview(content_bytes)
        length = _json_length(self.json_length, len(body))
        if length == 0 and self.json_length is not None:
            return self._raw_form(body)
        head = content_bytes if length == len(body) else bytes(body[:length])
        content = parse_object(head, "a JSON object with the list 'inputs'", self.budget)
        self.message_id = _id(content)
        parameters = content.get("parameters")
        if parameters is not None:
            self._obey(_checked_parameters(parameters, "the request"))
        self.outputs = self._wanted(content.get("outputs"))
        arrays = self._inputs(content, body[length:])
        return with_optional(self.model.inputs, arrays, self.model.max_batch)

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
        tensors, raw = [], list[bytes]()
        for one in self.outputs or [WantedOutput(spec, self.binary) for spec in model.outputs]:
            tensor, data = self._classes(one, outputs) if one.classes else _whole(one, outputs)
            if one.binary:
                raw.append(raw_strings(data) if isinstance(data, list) else raw_bytes(data))
                tensor["parameters"] = {"binary_data_size": len(raw[-1])}
            elif isinstance(data, list):
                tensor["data"] = data
            else:
                refuse_not_finite({one.name: data})
                # numpy's half floats are not numbers to orjson.
                tensor["data"] = as_json((data.astype(np.float32) if data.dtype == np.float16 else data).ravel())
            tensors.append(tensor)
        content["outputs"] = tensors
        head = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
        if not raw:
            return Encoded(JSON, head)
        headers = [(b"content-type", b"application/octet-stream"), (JSON_LENGTH, str(len(head)).encode())]
        return Encoded(headers, b"".join([head, *raw]))

    def _classes(self, one: WantedOutput, outputs: Mapping[str, Array]) -> tuple[dict[str, Any], list[str]]:
        shape, texts = best_classes(one.spec, outputs[one.spec.name], one.classes, self.budget)
        return {"name": one.name, "datatype": BYTES, "shape": shape}, texts

    def _obey(self, parameters: dict[str, Any]) -> None:
        """Apply the parameters of the request."""
        limit_time(parameters, self.begin, self.budget)
        self.binary = flag(parameters, "binary_data_output", "the request")
        variant = parameters.get("variant", self.model.variant)
        if variant != self.model.variant:
            raise RequestError(
                f"the parameter 'variant' of the request is {shown(variant)}, and {self.model.variant!r} answers: "
                "over REST the variant is part of the address (?variant=NAME)"
            )

    def _inputs(self, content: dict[str, Any], raw: memoryview) -> dict[str, Array]:
        tensors = content.get("inputs")
        if not isinstance(tensors, list) or not tensors:
            raise RequestError(_no_inputs(content, self.model.inputs))
        arrays: dict[str, Array] = {}
        at = 0
        for tensor in tensors:
            if not isinstance(tensor, dict):
                raise RequestError(
                    f"an entry of 'inputs' is {shown(tensor)}: each is an object with name, shape, datatype and data; "
                    "inputs by name go to /predict"
                )
            spec = spec_of(self.model.inputs, tensor.get("name"))
            if spec.name in arrays:
                raise InputNameError(f"input {spec.name!r} is sent twice: send it once")
            parameters, size = tensor.get("parameters"), None
            if parameters is not None:
                size = _checked_parameters(parameters, f"input {spec.name!r}").get("binary_data_size")
            if size is None:
                arrays[spec.name] = self._values(spec, tensor)
                continue
            if tensor.get("data") is not None:
                raise RequestError(f"input {spec.name!r} has both 'data' and 'binary_data_size': send one of them")
            if type(size) is not int or not 0 <= size <= len(raw) - at:
                raise RequestError(
                    f"input {spec.name!r} has binary_data_size {shown(size)}; "
                    f"{len(raw) - at} bytes are left after the JSON"
                )
            datatype, shape = _declared(spec, tensor)
            arrays[spec.name] = self._from_raw(spec, datatype, shape, raw[at : at + size])
            at += size
        if at != len(raw):
            raise RequestError(f"{len(raw) - at} bytes after the JSON belong to no input (binary_data_size)")
        return arrays

    def _values(self, spec: TensorSpec, tensor: dict[str, Any]) -> Array:
        datatype, shape = _declared(spec, tensor)
        values = tensor.get("data")
        if not isinstance(values, list):
            raise RequestError(f"input {spec.name!r} has {_no_data(values)}")
        return from_values(spec, datatype, shape, values, max_batch=self.model.max_batch, budget=self.budget)

    def _from_raw(self, spec: TensorSpec, datatype: str, shape: list[int], raw: memoryview) -> Array:
        return from_raw(spec, datatype, shape, raw, max_batch=self.model.max_batch, budget=self.budget)

    def _raw_form(self, body: memoryview) -> dict[str, Array]:
        """The body is the one input's bytes and nothing else; its shape follows from the model's and their number."""
        self.binary = not _json_alone(self._accept)
        wanted = [spec for spec in self.model.inputs if not spec.optional]
        if len(wanted) != 1:
            raise RequestError(f"{JSON_LENGTH.decode()}: 0 is for models with one input; this one has {len(wanted)}")
        spec = wanted[0]
        free = [axis for axis, dim in enumerate(spec.shape) if isinstance(dim, str)]
        row = spec.numpy_dtype.itemsize
        for dim in spec.shape:
            row *= dim if isinstance(dim, int) else 1
        content = content_of(spec)
        if spec.dtype == "string":
            if set(spec.shape[1:]) - {1} or not spec.batched:
                raise RequestError(f"input {spec.name!r} is {v2_shape(spec)} strings: send them as JSON")
            raw = memoryview(len(body).to_bytes(4, "little") + bytes(body))
            array = self._from_raw(spec, BYTES, [1] * len(spec.shape), raw)
        elif content is not None and (len(body) % row or not body or content.textual):
            array = decode_rows(spec, [bytes(body)], self.budget)
        elif len(free) != 1 or len(body) % row:
            raise RequestError(f"input {spec.name!r} has {len(body)} bytes, which is no whole number of {row} bytes")
        else:
            shape = [dim if isinstance(dim, int) else len(body) // row for dim in spec.shape]
            array = self._from_raw(spec, TO_V2[spec.dtype], shape, body)
        return with_optional(self.model.inputs, {spec.name: array}, self.model.max_batch)

    def _wanted(self, outputs: Any) -> tuple[WantedOutput, ...]:
        if outputs is None or outputs == []:
            return ()
        wanted: dict[str, WantedOutput] = {}
        for output in outputs if isinstance(outputs, list) else [None]:
            if not isinstance(output, dict):
                raise RequestError(
                    f"'outputs' is {shown(outputs)}: it is a list of objects, such as "
                    f'[{{"name": "{self.model.outputs[0].name}"}}]'
                )
            spec = output_of(self.model.outputs, output.get("name"), wanted)
            binary, classes = self.binary, 0
            holder = f"output {spec.name!r}"
            parameters = output.get("parameters")
            if parameters is not None:
                parameters = _checked_parameters(parameters, holder, output=True)
                binary = flag(parameters, "binary_data", holder, default=binary)
                classes = count_of_classes(parameters, spec)
            alias = spec.alias if output["name"] == spec.alias else None
            wanted[spec.name] = WantedOutput(spec, binary, classes, alias)
        return tuple(wanted.values())


def _no_inputs(content: dict[str, Any], specs: Sequence[TensorSpec]) -> str:
    """The sentence about a request without a list of inputs."""
    wanted = "send a list of objects with name, shape, datatype and data"
    sent = content.get("inputs")
    if sent is not None:
        return f"'inputs' is {shown(sent)}: {wanted}; inputs by name go to /predict"
    known = [spec.name for spec in specs]
    others = ["/predict" for name in content if name in known or name in ("instances", "ndarray", "data")]
    elsewhere = f"; this looks like a request for {others[0]}" if others else ""
    return f"'inputs' is missing: {wanted}{elsewhere}"


def _no_data(sent: Any) -> str:
    """The rest of the sentence about an input whose ``data`` is no list."""
    wanted = "send a list, or binary_data_size and raw bytes"
    match sent:
        case None:
            return f"no 'data': {wanted}"
        case dict():
            return f"'data' as an object: {wanted} (in JavaScript: Array.from(array) for a typed array)"
        case str():
            return f"'data' as the string {shown(sent)}: {wanted}; files come as a list of base64 strings"
    return f"'data' {shown(sent)}: {wanted}"


def _json_alone(accept: bytes) -> bool:
    """Whether the header ``accept`` takes JSON and no raw bytes."""
    kinds = {part.partition(b";")[0].strip() for part in accept[:_LONGEST_ACCEPT].lower().split(b",")}
    return b"application/json" in kinds and kinds.isdisjoint((b"*/*", b"application/*", b"application/octet-stream"))


def _json_length(header: bytes | None, size: int) -> int:
    if header is None:
        return size
    length = whole_number(header)
    if length is None or length > size:
        raise RequestError(
            f"{JSON_LENGTH.decode()} is {shown(header)}; it is the length of the JSON at the start of "
            f"the body, which has {size} bytes"
        )
    return length


def _id(content: dict[str, Any]) -> str | None:
    sent = content.get("id")
    return None if sent is None else check_id(sent)


def _checked_parameters(sent: Any, holder: str, *, output: bool = False) -> dict[str, Any]:
    if not isinstance(sent, dict):
        raise RequestError(f"'parameters' of {holder} is {shown(sent)}: it is an object, such as {{}}")
    check_parameters(sent, holder, output=output)
    return sent


def _declared(spec: TensorSpec, tensor: dict[str, Any]) -> tuple[str, list[int]]:
    datatype, shape = tensor.get("datatype"), tensor.get("shape")
    if not isinstance(datatype, str):
        has = "no 'datatype'" if datatype is None else f"'datatype' {shown(datatype)}, which is no string"
        raise InputTypeError(f"input {spec.name!r} has {has}; the model takes {TO_V2[spec.dtype]}")
    if not isinstance(shape, list):
        has = "no 'shape'" if shape is None else f"'shape' {shown(shape)}, which is no list"
        raise InputShapeError(
            f"input {spec.name!r} has {has}: send a list of integers; the model takes {v2_shape(spec)}"
        )
    return datatype, shape


def _whole(one: WantedOutput, outputs: Mapping[str, Array]) -> tuple[dict[str, Any], Array]:
    array = np.ascontiguousarray(outputs[one.spec.name])
    return {"name": one.name, "datatype": TO_V2[one.spec.dtype], "shape": list(array.shape)}, array
