"""Tensors as the protocol sends them: as JSON, as raw bytes and as the fields of a gRPC message."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oip_conformance.proto import oip_pb2 as pb
from oip_conformance.statement import Failed, require, shown

BYTES = "BYTES"
DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    BYTES: np.dtype(object),
}
"""The protocol's datatypes. An element of BYTES is ``bytes``."""
CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""The field of a gRPC message for values of a datatype. FP16 has none: it is sent raw."""


@dataclass(frozen=True)
class TensorMetadata:
    """What a model says about an input or an output; a size of -1 is variable."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """A name, a datatype and values, whose shape is the tensor's."""

    name: str
    datatype: str
    values: NDArray[Any]

    @property
    def shape(self) -> list[int]:
        """Sizes of the dims."""
        return list(self.values.shape)

    def nested(self) -> list[Any]:
        """The values for JSON, nested as the shape is. BYTES are text."""
        if self.datatype == BYTES:
            text = np.array([value.decode() for value in self.values.ravel()], dtype=object)
            return list(text.reshape(self.values.shape).tolist())
        return list(self.values.tolist())

    def flat(self) -> list[Any]:
        """The values for JSON in row-major order."""
        return Tensor(self.name, self.datatype, self.values.reshape(-1)).nested()

    def raw(self) -> bytes:
        """The values as little-endian bytes; each element of BYTES after its length."""
        if self.datatype == BYTES:
            return b"".join(struct.pack("<I", len(value)) + value for value in self.values.ravel())
        return self.values.astype(DTYPES[self.datatype]).tobytes()

    def as_json(self) -> dict[str, Any]:
        """An entry of a REST request's ``inputs``."""
        return {"name": self.name, "shape": self.shape, "datatype": self.datatype, "data": self.flat()}

    def contents(self) -> pb.InferTensorContents:
        """The values in the field of a gRPC message that belongs to the datatype."""
        values = list(self.values.ravel()) if self.datatype == BYTES else self.values.ravel().tolist()
        return pb.InferTensorContents(**{CONTENTS[self.datatype]: values})


def filled(metadata: TensorMetadata, shape: Sequence[int], limit: int = 7) -> Tensor:
    """A tensor of small values that differ from element to element.

    Args:
        metadata: name and datatype.
        shape: sizes without -1.
        limit: integers are below it.
    """
    dtype = DTYPES[metadata.datatype]
    counted = np.arange(math.prod(shape))
    if metadata.datatype == BYTES:
        values = np.array([f"value {number}".encode() for number in counted], dtype=object)
    elif metadata.datatype == "BOOL":
        values = counted % 3 == 0
    elif dtype.kind == "f":
        values = (counted * 5 % 17 + 1) / 8
    else:
        values = counted * 3 % limit
    return Tensor(metadata.name, metadata.datatype, values.astype(dtype).reshape(shape))


def from_json(sent: Any) -> Tensor:
    """An entry of a REST response's ``outputs`` with its values as JSON.

    Raises:
        Failed: a field is missing or of another type, or the data does not fit shape and datatype.
    """
    name, datatype, shape = described(sent)
    require(isinstance(sent.get("data"), list), f"{name!r} has no list `data`, but {shown(sent.get('data'))}")
    return from_values(name, datatype, shape, flattened(sent["data"]))


def described(sent: Any) -> tuple[str, str, list[int]]:
    """Name, datatype and shape of an entry of ``outputs``.

    Raises:
        Failed: one of them is missing or of another type.
    """
    require(isinstance(sent, dict), f"an output is {shown(sent)}, not an object")
    name, datatype, shape = sent.get("name"), sent.get("datatype"), sent.get("shape")
    require(isinstance(name, str), f"an output's `name` is {shown(name)}, not a string")
    require(datatype in DTYPES, f"output {name!r} has the datatype {shown(datatype)}, which the protocol lacks")
    sizes = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    require(sizes, f"output {name!r} has the shape {shown(shape)}, not a list of sizes")
    return str(name), str(datatype), list(shape or [])


def flattened(data: Any) -> list[Any]:
    """Nested lists as one list in row-major order."""
    if not isinstance(data, list):
        return [data]
    return (
        [value for part in data for value in flattened(part)] if any(isinstance(part, list) for part in data) else data
    )


def from_values(name: str, datatype: str, shape: Sequence[int], values: Sequence[Any]) -> Tensor:
    """Values in row-major order.

    Raises:
        Failed: another number of values than the shape has, or a value that the datatype does not hold.
    """
    count = math.prod(shape)
    require(len(values) == count, f"{name!r} of shape {list(shape)} has {len(values)} values; the shape has {count}")
    if datatype == BYTES:
        texts = [value.encode() if isinstance(value, str) else value for value in values]
        wrong = [value for value in texts if not isinstance(value, bytes)]
        require(not wrong, f"{name!r} is of BYTES and has the value {shown(wrong[:1])}")
        array = np.empty(count, dtype=object)
        array[:] = texts
        return Tensor(name, datatype, array.reshape(shape))
    dtype = DTYPES[datatype]
    allowed: tuple[type, ...] = {"b": (bool,), "f": (int, float)}.get(dtype.kind, (int,))
    wrong = [value for value in values if type(value) not in allowed]
    require(not wrong, f"{name!r} is of {datatype} and has the value {shown(wrong[:1])}")
    try:
        with np.errstate(over="raise"):
            array = np.array(values, dtype=dtype)
    except (OverflowError, FloatingPointError):
        raise Failed(f"{name!r} is of {datatype} and has a value beyond it") from None
    return Tensor(name, datatype, array.reshape(shape))


def from_raw(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> Tensor:
    """Little-endian bytes in row-major order.

    Raises:
        Failed: another number of bytes than shape and datatype take.
    """
    if datatype == BYTES:
        return from_values(name, datatype, shape, _elements(name, raw))
    dtype = DTYPES[datatype]
    wanted = math.prod(shape) * dtype.itemsize
    require(len(raw) == wanted, f"{name!r} has {len(raw)} bytes; {datatype} of shape {list(shape)} takes {wanted}")
    return Tensor(name, datatype, np.frombuffer(raw, dtype).reshape(shape))


def from_contents(name: str, datatype: str, shape: Sequence[int], contents: pb.InferTensorContents) -> Tensor:
    """The values of a gRPC message.

    Raises:
        Failed: they are in the field of another datatype, or do not fit shape and datatype.
    """
    require(datatype in CONTENTS, f"{name!r} is of {datatype}, which is sent raw only")
    others = [field.name for field, _ in contents.ListFields() if field.name != CONTENTS[datatype]]
    require(not others, f"{name!r} is of {datatype} and has its values in {', '.join(others)}")
    return from_values(name, datatype, shape, list(getattr(contents, CONTENTS[datatype])))


def require_same(first: Sequence[Tensor], second: Sequence[Tensor], what: str) -> None:
    """Fail unless both lists have tensors of the same names, datatypes, shapes and values.

    Floating-point values may differ by rounding.
    """
    one, two = ({tensor.name: tensor for tensor in tensors} for tensors in (first, second))
    require(one.keys() == two.keys(), f"{what}: the outputs are {list(one)} and {list(two)}")
    for name, tensor in one.items():
        other = two[name]
        kinds = [f"{each.datatype} of shape {each.shape}" for each in (tensor, other)]
        require(kinds[0] == kinds[1], f"{what}: {name!r} is {' and '.join(kinds)}")
        require(_close(tensor, other), f"{what}: {name!r} has other values, {_ends(tensor)} and {_ends(other)}")


def _close(one: Tensor, two: Tensor) -> bool:
    if DTYPES[one.datatype].kind != "f":
        return bool(np.array_equal(one.values, two.values))
    rounding = {"FP16": 1e-2, "FP32": 1e-4, "FP64": 1e-6}[one.datatype]
    wide = (one.values.astype(np.float64), two.values.astype(np.float64))
    return bool(np.allclose(*wide, rtol=rounding, atol=rounding, equal_nan=True))


def _ends(tensor: Tensor) -> str:
    return shown(tensor.values.ravel()[:4].tolist())


def _elements(name: str, raw: bytes) -> list[bytes]:
    elements, at = [], 0
    while at < len(raw):
        require(at + 4 <= len(raw), f"{name!r} ends within the length of an element")
        (size,) = struct.unpack_from("<I", raw, at)
        at += 4 + size
        require(at <= len(raw), f"{name!r} ends within an element")
        elements.append(raw[at - size : at])
    return elements
