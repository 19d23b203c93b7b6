"""Requests and responses of the Open Inference Protocol, for :mod:`tests.given.protocol_server`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from oip_conformance.statement import Failed
from oip_conformance.tensors import DTYPES, Tensor, TensorMetadata, flattened, from_raw, from_values

LENGTH = "inference-header-content-length"
EXTENSIONS = ("binary_tensor_data", "classification", "model_repository", "statistics")
ECHO = {
    "numbers": ("FP32", 4),
    "counts": ("INT64", 3),
    "octets": ("UINT8", 2),
    "flags": ("BOOL", 2),
    "words": ("BYTES", 1),
}
LABELS = ("ace", "king", "queen", "jack")
VERSIONS = ("1", "2")


class Refused(Exception):  # noqa: N818 - an answer
    """A request that is answered with an error."""

    def __init__(
        self, message: str, status: int = 400, code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT
    ) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass
class Asked:
    """A REST request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """A REST response: JSON, and the bytes after it. ``body``, if set, is sent instead."""

    status: int
    content: Any
    raw: list[bytes] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def encoded(self) -> tuple[dict[str, str], bytes]:
        """Headers and body."""
        head = json.dumps(self.content, ensure_ascii=False).encode()
        headers = {"content-type": "application/json"}
        if self.raw:
            headers = {"content-type": "application/octet-stream", LENGTH: str(len(head))}
        body = b"".join([head, *self.raw]) if self.body is None else self.body
        return {**headers, **self.headers}, body


@dataclass(frozen=True)
class Fault:
    """What the server does wrong. Each part that is set changes requests before, or responses after."""

    rest_before: Callable[[Asked], Asked | Reply] | None = None
    rest_after: Callable[[Asked, Reply], Reply] | None = None
    grpc_before: Callable[[str, Any], Any] | None = None
    grpc_after: Callable[[str, Any, Any], Any] | None = None
    """Gets the method, the request, and the message or :class:`Refused`; returns one of them."""
    values: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None
    """Changes inputs before a model gets them."""


RIGHT = Fault()


def tensors_of(columns: Mapping[str, tuple[str, int]], suffix: str = "") -> tuple[TensorMetadata, ...]:
    return tuple(TensorMetadata(name + suffix, kind, (-1, size)) for name, (kind, size) in columns.items())


@dataclass
class Model:
    """One model, and what it has done."""

    name: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    versions: tuple[str, ...]
    loaded: bool = True
    rows: int = 0
    runs: int = 0
    last: int = 0
    nanoseconds: int = 0

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs."""
        if self.name == "echo":
            return {
                f"{each.name}_out": Tensor(f"{each.name}_out", each.datatype, each.values) for each in inputs.values()
            }
        total = inputs["numbers"].values.sum(axis=1, keepdims=True, dtype=np.float32)
        return {"total": Tensor("total", "FP32", total)}


def parsed(body: bytes) -> dict[str, Any]:
    """A JSON object, without NaN."""

    def refuse(word: str) -> None:
        raise Refused(f"{word} is no JSON")

    try:
        content = json.loads(body, parse_constant=refuse)
    except ValueError as error:
        raise Refused(f"the body is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise Refused("the body is no JSON object")
    return content


def parameters_of(holder: dict[str, Any]) -> dict[str, Any]:
    found = holder.get("parameters", {})
    if not isinstance(found, dict):
        raise Refused("`parameters` is no object")
    return found


def read_inputs(entries: list[Any], raw: bytes) -> list[Tensor]:
    """The inputs of a request."""
    tensors, at = [], 0
    for entry in entries:
        if not isinstance(entry, dict):
            raise Refused("an input is no object")
        name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
        sizes = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
        if not isinstance(name, str) or not isinstance(datatype, str) or datatype not in DTYPES or not sizes:
            raise Refused(f"an input has the name {name!r}, the datatype {datatype!r} and the shape {shape!r}")
        size = parameters_of(entry).get("binary_data_size")
        try:
            if size is not None:
                if type(size) is not int or at + size > len(raw) or "data" in entry:
                    raise Refused(f"`binary_data_size` of {name} is {size}")
                tensors.append(from_raw(name, datatype, shape or [], raw[at : at + size]))
                at += size
            else:
                tensors.append(from_values(name, datatype, shape or [], values_of(entry)))
        except Failed as failed:
            raise Refused(str(failed)) from None
    if at != len(raw):
        raise Refused("bytes of no input")
    return tensors


def values_of(entry: dict[str, Any]) -> list[Any]:
    """``data``, flat, or nested as the shape is."""
    data = entry.get("data")
    if not isinstance(data, list):
        raise Refused("`data` is no list")
    if data and isinstance(data[0], list):
        rows, columns = (*entry["shape"], 0, 0)[:2]
        if len(data) != rows or any(not isinstance(row, list) or len(row) != columns for row in data):
            raise Refused("`data` is not nested as the shape is")
    return flattened(data)


Wanted = list[tuple[str, bool, int | None]]
"""Name of an output, whether it is wanted as bytes, and the number of classes."""


def read_outputs(outputs: list[Any] | None, model: Model, *, binary: bool) -> Wanted:
    """The outputs that are wanted."""
    known = [tensor.name for tensor in model.outputs]
    wanted: Wanted = []
    for output in outputs or [{"name": name} for name in known]:
        if not isinstance(output, dict) or output.get("name") not in known:
            raise Refused("an output that the model does not have")
        parameters = parameters_of(output)
        classes = parameters.get("classification")
        if "classification" in parameters and type(classes) is not int:
            raise Refused(f"`classification` is {classes!r}")
        wanted.append((output["name"], parameters.get("binary_data", binary) is True, classes))
    return wanted


def response(model: Model, version: str, sent_id: str | None, found: Mapping[str, Tensor], wanted: Wanted) -> Reply:
    """The response of an inference."""
    content: dict[str, Any] = {"model_name": model.name, "parameters": {"right": True}}
    if model.versions:
        content["model_version"] = version or model.versions[-1]
    if sent_id is not None:
        content["id"] = sent_id
    entries, raw = [], []
    for name, binary, classes in wanted:
        tensor = found[name] if classes is None else classified(found[name], classes)
        entry: dict[str, Any] = {"name": name, "datatype": tensor.datatype, "shape": tensor.shape}
        if binary:
            raw.append(tensor.raw())
            entry["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            entry["data"] = tensor.flat()
        entries.append(entry)
    return Reply(200, {**content, "outputs": entries}, raw)


def classified(tensor: Tensor, count: int) -> Tensor:
    """The highest values of each row as text."""
    if not 1 <= count <= tensor.shape[1]:
        raise Refused(f"{count} classes")
    rows = []
    for row in tensor.values:
        order = np.argsort(-row.astype(np.float64), kind="stable")[:count]
        rows.append([f"{float(row[at]):f}:{at}:{LABELS[at]}".encode() for at in order])
    return Tensor(tensor.name, "BYTES", np.array(rows, dtype=object))


def metadata_of(model: Model) -> dict[str, Any]:
    found: dict[str, Any] = {"name": model.name, "platform": "numpy_python"}
    if model.versions:
        found["versions"] = list(model.versions)
    for name, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        found[name] = [{"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in tensors]
    return found


def statistics(model: Model, version: str = "") -> dict[str, Any]:
    duration = {"count": model.runs, "ns": model.nanoseconds}
    parts = ("compute_input", "compute_infer", "compute_output")
    found: dict[str, Any] = {
        "name": model.name,
        "last_inference": model.last,
        "inference_count": model.rows,
        "execution_count": model.runs,
        "inference_stats": dict.fromkeys(("success", "fail", "queue", *parts), duration),
        "batch_stats": [{"batch_size": 1, **dict.fromkeys(parts, duration)}],
    }
    if model.versions:
        found["version"] = version or model.versions[-1]
    return found
