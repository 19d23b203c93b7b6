"""The Open Inference Protocol's names of data types, and the arrays that they stand for."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import numpy as np
import orjson

from lading.spec import Array, DType, TensorSpec

BYTES = "BYTES"
TO_V2: dict[str, str] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": BYTES,
}
"""https://github.com/kserve/open-inference-protocol, "Tensor Data Types"."""
FROM_V2: dict[str, DType] = {TO_V2[dtype]: dtype for dtype in get_args(DType) if dtype != "string"}
"""Dtypes of numbers. BYTES are strings or encoded files."""
PART = 2**16
"""Numbers that are written at once, in about 3 ms."""


def v2_shape(spec: TensorSpec) -> list[int]:
    """The shape as metadata give it: -1 for a dim of any size."""
    return [dim if isinstance(dim, int) else -1 for dim in spec.shape]


def raw_bytes(array: Array) -> bytes:
    """The array as the protocol sends raw tensors: row-major, little-endian."""
    if array.dtype.kind in "OU":
        return raw_strings(array.ravel().tolist())
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def raw_strings(texts: Sequence[str]) -> bytes:
    """The strings as raw BYTES tensors hold them: the length of each as four bytes, little-endian, and UTF-8."""
    parts = []
    for text in texts:
        data = text.encode()
        parts += [struct.pack("<I", len(data)), data]
    return b"".join(parts)


def as_json(array: Array) -> Any:
    """A contiguous array in the form that orjson takes.

    A large one is written here, in parts: the interpreter lock is free for a moment after each.
    """
    if array.dtype.kind in "OU":
        return array.tolist()
    return array if array.size <= PART else orjson.Fragment(b"".join(_written(array)))


def _written(array: Array) -> Iterator[bytes]:
    if array.size <= PART:
        yield orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)
        return
    rows = max(1, PART // (array.size // len(array)))
    for start in range(0, len(array), rows):
        yield b"," if start else b"["
        if rows == 1 and array.ndim > 1:
            yield from _written(array[start])
        else:
            yield orjson.dumps(array[start : start + rows], option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    yield b"]"
