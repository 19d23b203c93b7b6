"""Tensors as the Open Inference Protocol sends them, raw or as values, to arrays; shared by REST and gRPC."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from lading.content import content_of, decode_rows
from lading.errors import InputNameError, InputShapeError, InputTypeError, InputValueError, RequestError
from lading.protocol.datatypes import BYTES, FROM_V2, TO_V2, v2_shape
from lading.protocol.json_values import flat_to_array, owners
from lading.spec import Array, TensorSpec

_LARGEST_SIZE = 2**31 - 1  # of one dim; no body that is accepted holds more elements


def spec_of(specs: Sequence[TensorSpec], name: Any) -> TensorSpec:
    """The input of that name.

    Raises:
        RequestError: there is none; says which there are.
    """
    for spec in specs:
        if spec.name == name:
            return spec
    raise InputNameError(f"unknown input {name!r}; the inputs are: {', '.join(spec.name for spec in specs)}")


def from_raw(spec: TensorSpec, datatype: str, shape: Sequence[int], raw: bytes | memoryview, max_pixels: int) -> Array:
    """Little-endian bytes in row-major order to an array; without a copy where the bytes are aligned.

    Raises:
        RequestError: another datatype than the model's, a shape that the bytes do not fill, or a corrupt file.
        BodyTooLargeError: a picture of too many pixels.
    """
    check_type(spec, datatype, shape)
    view = memoryview(raw)
    if datatype == BYTES:
        return _decoded(spec, shape, split_bytes(spec.name, view), max_pixels)
    dtype = np.dtype(FROM_V2[datatype]).newbyteorder("<")
    wanted = math.prod(shape) * dtype.itemsize
    if view.nbytes != wanted:
        raise InputShapeError(
            f"input {spec.name!r} has {view.nbytes} bytes; {datatype} of shape {list(shape)} takes {wanted}"
        )
    if datatype == "BOOL":
        octets = np.frombuffer(view, np.uint8)
        if octets.size and octets.max() > 1:
            raise InputValueError(f"input {spec.name!r} has a byte that is neither 0 nor 1, where BOOL has no other")
        return octets.view(np.bool_).reshape(shape)
    return np.require(np.frombuffer(view, dtype).reshape(shape), requirements=["A"])


def from_values(spec: TensorSpec, datatype: str, shape: Sequence[int], values: Sequence[Any], max_pixels: int) -> Array:
    """A flat list, in row-major order, or lists nested as the shape is, to an array.

    Raises:
        RequestError: another datatype than the model's, a shape that the values do not fill, a value of another type or
            range, or a corrupt file.
        BodyTooLargeError: a picture of too many pixels.
    """
    check_type(spec, datatype, shape)
    flat = flatten(spec.name, shape, values)
    if datatype == BYTES:
        return _decoded(spec, shape, flat, max_pixels)
    return flat_to_array(spec, list(flat), tuple(shape))


def flatten(name: str, shape: Sequence[int], values: Sequence[Any]) -> Sequence[Any]:
    """Bring values that may be nested as the shape is into a flat list.

    Raises:
        RequestError: neither flat nor nested as the shape says, or another number of them.
    """
    level: Sequence[Any] = values
    if values and isinstance(values[0], list):
        for depth, size in enumerate(shape):
            if depth == 0:
                if len(values) != size:
                    raise InputShapeError(_misfit(name, shape, f"{len(values)} entries at the top"))
                continue
            if not all(isinstance(part, list) and len(part) == size for part in level):
                raise InputShapeError(_misfit(name, shape, f"a list at depth {depth} with another number of entries"))
            level = list(chain.from_iterable(level))
    if len(level) != math.prod(shape):
        raise InputShapeError(_misfit(name, shape, f"{len(level)} values"))
    return level


def split_bytes(name: str, raw: memoryview) -> list[bytes]:
    """Part a raw BYTES tensor: each element is its length as four bytes, little-endian, and then so many bytes.

    Raises:
        RequestError: a length runs over the end.
    """
    elements: list[bytes] = []
    at = 0
    while at < raw.nbytes:
        if at + 4 > raw.nbytes:
            raise RequestError(f"input {name!r} ends within the length of element {len(elements)}")
        (size,) = struct.unpack_from("<I", raw, at)
        at += 4
        if at + size > raw.nbytes:
            raise RequestError(f"input {name!r} ends within element {len(elements)}, which should have {size} bytes")
        elements.append(bytes(raw[at : at + size]))
        at += size
    return elements


def check_type(spec: TensorSpec, datatype: str, shape: Sequence[int]) -> None:
    """Refuse a datatype or a shape that the input cannot have.

    Raises:
        RequestError: says what the model takes.
    """
    content = content_of(spec)
    if datatype != TO_V2[spec.dtype] and not (datatype == BYTES and content is not None):
        also = "" if content is None else f" (or {BYTES}, an encoded {content.noun} each)"
        raise InputTypeError(
            f"input {spec.name!r} has datatype {datatype!r}; the model takes {TO_V2[spec.dtype]}{also}"
        )
    if any(not 0 <= size <= _LARGEST_SIZE for size in shape):
        raise InputShapeError(f"input {spec.name!r} has shape {list(shape)}: sizes run from 0 to {_LARGEST_SIZE}")
    if datatype != BYTES and len(shape) != len(spec.shape):
        raise InputShapeError(f"input {spec.name!r} has shape {list(shape)}; the model takes {v2_shape(spec)}")
    if content is not None and datatype == BYTES and (not shape or math.prod(shape) != shape[0]):
        raise InputShapeError(f"input {spec.name!r} has shape {list(shape)}; {content.noun}s come as [n] or [n, 1]")


def with_owners(specs: Sequence[TensorSpec], arrays: Mapping[str, Array], max_batch: int) -> dict[str, Array]:
    """Fill in owner vectors that were left out, and refuse those that do not count up."""
    complete = dict(arrays)
    for spec in specs:
        if spec.owner_of:
            complete[spec.name] = owners(spec, specs, complete, max_batch)
    return complete


def _decoded(spec: TensorSpec, shape: Sequence[int], elements: Sequence[bytes], max_pixels: int) -> Array:
    if len(elements) != math.prod(shape):
        raise InputShapeError(_misfit(spec.name, shape, f"{len(elements)} elements"))
    return decode_rows(spec, elements, max_pixels)


def _misfit(name: str, shape: Sequence[int], what: str) -> str:
    return f"input {name!r} has {what}, which is not its shape {list(shape)}"
