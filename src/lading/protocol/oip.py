"""Tensors as the Open Inference Protocol sends them, raw or as values, to arrays; shared by REST and gRPC."""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any, NamedTuple, NoReturn

import numpy as np

from lading.budget import Budget
from lading.content import content_of, decode_rows
from lading.errors import InputNameError, InputShapeError, InputTypeError, InputValueError, RequestError
from lading.errors.sentences import shown, unknown
from lading.protocol.base64_files import from_base64
from lading.protocol.datatypes import BYTES, FROM_V2, TO_V2, v2_shape
from lading.protocol.json_values import flat_to_array, refuse_too_many
from lading.spec import Array, TensorSpec
from lading.tensors.checks import advice_on_shape

LONGEST_ID = 1024
"""Maximum characters of a message's id."""
_MOST_DIMS = 16  # of a shape that advice is given on
_INTEGERS = {int}
_LARGEST_SIZE = 2**31 - 1  # of one dim and of all; no body that is accepted holds more elements


def spec_of(specs: Sequence[TensorSpec], name: Any) -> TensorSpec:
    """The input of that name or alias.

    Raises:
        RequestError: there is none; says which there are.
    """
    found = _named(specs, name)
    if found is None:
        raise InputNameError(unknown("input", name, [spec.name for spec in specs]))
    return found


class WantedOutput(NamedTuple):
    """An output to answer with, and how."""

    spec: TensorSpec
    binary: bool = False
    """As raw bytes, in a protocol where each output has its own form."""
    classes: int = 0
    """How many of its best classes are sent instead of the tensor; 0: the tensor itself."""
    alias: str | None = None
    """The name that it was asked for by, if that is its name in the file that the graph came from."""

    @property
    def name(self) -> str:
        """The name of the answer: the client looks for the one that it asked for."""
        return self.alias or self.spec.name


def output_of(specs: Sequence[TensorSpec], name: Any, wanted: Collection[str]) -> TensorSpec:
    """A requested output, which is not one of those wanted before.

    Raises:
        RequestError: there is no such output, or it is requested twice.
    """
    found = _named(specs, name)
    if found is None:
        raise RequestError(unknown("output", name, [spec.name for spec in specs]))
    if found.name in wanted:
        raise RequestError(f"output {name!r} is requested twice; the outputs are: {_names(specs)}")
    return found


def _named(specs: Sequence[TensorSpec], name: Any) -> TensorSpec | None:
    for spec in specs:
        if spec.name == name:
            return spec
    return next((spec for spec in specs if spec.alias == name and name is not None), None)


def _names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(spec.name for spec in specs)


def check_id(sent: Any) -> str:
    """The id of a message.

    Raises:
        RequestError: it is not a short string.
    """
    if not isinstance(sent, str) or len(sent) > LONGEST_ID:
        what = "a longer one" if isinstance(sent, str) else shown(sent)
        raise RequestError(f"'id' is not a string of at most {LONGEST_ID} characters, but {what}")
    return sent


def from_raw(
    spec: TensorSpec, datatype: str, sent: Sequence[int], raw: bytes | memoryview, *, max_batch: int, budget: Budget
) -> Array:
    """Little-endian bytes in row-major order to an array; without a copy where the bytes are aligned.

    Args:
        spec: the input.
        datatype, sent: its datatype and shape as the client names them.
        raw: its bytes.
        max_batch: most rows along ``batch``, and most files.
        budget: what reading it may cost.

    Raises:
        RequestError: another datatype than the model's, a shape that the bytes do not fill, or a corrupt file.
        BodyTooLargeError: a picture of too many pixels.
    """
    shape = check_type(spec, datatype, sent, max_batch)
    view = memoryview(raw)
    if datatype == BYTES:
        if spec.content is None:
            budget.spend_values(math.prod(shape))
        elements = split_bytes(spec.name, view, shape)
        return _decoded(spec, elements, budget) if spec.content else _texts(spec, elements, shape)
    dtype = np.dtype(FROM_V2[datatype]).newbyteorder("<")
    wanted = math.prod(shape) * dtype.itemsize
    if view.nbytes != wanted:
        raise InputShapeError(
            f"input {spec.name!r} has {view.nbytes} bytes; {datatype} of shape {shown(shape)} takes {wanted}"
        )
    if datatype == "BOOL":
        octets = np.frombuffer(view, np.uint8)
        if octets.size and octets.max() > 1:
            raise InputValueError(f"input {spec.name!r} has a byte that is neither 0 nor 1, where BOOL has no other")
        return octets.view(np.bool_).reshape(shape)
    array = np.frombuffer(view, dtype).reshape(shape)
    return array if array.flags.aligned else array.copy()


def from_values(
    spec: TensorSpec, datatype: str, sent: Sequence[int], values: Sequence[Any], *, max_batch: int, budget: Budget
) -> Array:
    """A flat list, in row-major order, or lists nested as the shape is, to an array.

    Args:
        spec: the input.
        datatype, sent: its datatype and shape as the client names them.
        values: numbers, booleans, or files: as bytes, or as base64 strings.
        max_batch: most rows along ``batch``, and most files.
        budget: what reading it may cost.

    Raises:
        RequestError: another datatype than the model's, a shape that the values do not fill, a value of another type or
            range, or a corrupt file.
        BodyTooLargeError: a picture of too many pixels.
    """
    shape = check_type(spec, datatype, sent, max_batch)
    if datatype == BYTES and spec.content is not None:
        return _decoded(spec, flatten(spec.name, [shape[0], 1], values), budget)
    if datatype == BYTES:
        return _texts(spec, flatten(spec.name, shape, values), shape)
    return flat_to_array(spec, flatten(spec.name, shape, values), tuple(shape))


def flatten(name: str, shape: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """Bring values that may be nested as the shape is into a flat list.

    Raises:
        RequestError: neither flat nor nested as the shape says, or another number of them.
    """
    if not (values and isinstance(values[0], list)):
        if len(values) != math.prod(shape):
            raise InputShapeError(_misfit(name, shape, f"{len(values)} values"))
        return list(values)
    if not shape or len(values) != shape[0]:
        raise InputShapeError(_misfit(name, shape, f"{len(values)} entries at the top"))
    level = list(values)
    for depth, size in enumerate(shape[1:], 1):
        if not all(isinstance(part, list) and len(part) == size for part in level):
            raise InputShapeError(_misfit(name, shape, f"a list at depth {depth} with another number of entries"))
        level = list(chain.from_iterable(level))
    return level


_LENGTHS = ": each element begins with its length, as four bytes, little-endian"


def split_bytes(name: str, raw: memoryview, shape: Sequence[int]) -> list[memoryview]:
    """Part a raw BYTES tensor: each element is its length as four bytes, little-endian, and then that many bytes.

    Args:
        name: of the input.
        raw: all of its bytes. The elements are views of them.
        shape: says how many elements there are.

    Raises:
        RequestError: a length runs over the end, or another number of elements.
    """
    elements: list[memoryview] = []
    count, at = math.prod(shape), 0
    while at < raw.nbytes:
        if len(elements) == count:
            raise InputShapeError(_misfit(name, shape, f"more than {count} elements"))
        if at + 4 > raw.nbytes:
            raise RequestError(f"input {name!r} ends within the length of element {len(elements)}{_LENGTHS}")
        (size,) = struct.unpack_from("<I", raw, at)
        at += 4
        if at + size > raw.nbytes:
            raise RequestError(
                f"input {name!r} ends within element {len(elements)}, which should have {size} bytes{_LENGTHS}"
            )
        elements.append(raw[at : at + size])
        at += size
    if len(elements) != count:
        raise InputShapeError(_misfit(name, shape, f"{len(elements)} elements"))
    return elements


def check_type(spec: TensorSpec, datatype: str, sent: Sequence[int], max_batch: int) -> list[int]:
    """Refuse a datatype or a shape that the input cannot have, before anything is computed from the shape.

    Returns:
        The shape: no more dims than the model's, each within bounds, and no more examples or files than may come.

    Raises:
        RequestError: says what the model takes.
    """
    content = content_of(spec)
    files = datatype == BYTES and content is not None
    if datatype != TO_V2[spec.dtype] and not files and not (datatype == BYTES and spec.codes is not None):
        also = "" if content is None else f" (or {BYTES}, {content.one_of_bytes} each)"
        also = f" (or {BYTES}, the name of a category each)" if spec.codes is not None else also
        raise InputTypeError(
            f"input {spec.name!r} has datatype {shown(datatype)}; the model takes {TO_V2[spec.dtype]}{also}"
        )
    # Before the sizes are read: a client may send any number of them.
    if len(sent) > (2 if files else len(spec.shape)):
        takes = "[n] or [n, 1]" if files else v2_shape(spec)
        advice = advice_on_shape(spec, _sizes(sent))
        raise InputShapeError(f"input {spec.name!r} has a shape of {len(sent)} dims; the model takes {takes}{advice}")
    shape = list(sent)
    if shape and (set(map(type, shape)) != _INTEGERS or min(shape) < 0 or max(shape) > _LARGEST_SIZE):
        _refuse_sizes(spec, shape)
    # numpy computes with the sizes besides a 0, too
    if math.prod(filter(None, shape)) > _LARGEST_SIZE:
        raise InputShapeError(f"input {spec.name!r} has shape {shown(shape)}, which is larger than any request")
    if not files and len(shape) != len(spec.shape):
        raise InputShapeError(
            f"input {spec.name!r} has shape {shown(shape)}; the model takes {v2_shape(spec)}"
            f"{advice_on_shape(spec, shape)}"
        )
    if content is not None and files and (not shape or math.prod(shape) != shape[0]):
        raise InputShapeError(f"input {spec.name!r} has shape {shown(shape)}; {content.noun}s come as [n] or [n, 1]")
    if (spec.batched or files) and shape[0] > max_batch:
        refuse_too_many(spec, shape[0], max_batch, "" if files else advice_on_shape(spec, shape))
    return shape


def _refuse_sizes(spec: TensorSpec, shape: list[Any]) -> NoReturn:
    name = f"input {spec.name!r} has shape {shown(shape)}"
    if set(map(type, shape)) == _INTEGERS:
        raise InputShapeError(f"{name}: sizes run from 0 to {_LARGEST_SIZE}")
    raise InputShapeError(f"{name}, whose sizes are not integers; the model takes {v2_shape(spec)}")


def _texts(spec: TensorSpec, elements: Sequence[Any], shape: Sequence[int]) -> Array:
    """Strings, or the names of categories, that are bytes in UTF-8 or strings already."""
    texts = [_text(spec, element) if isinstance(element, bytes | memoryview) else element for element in elements]
    return flat_to_array(spec, texts, tuple(shape))


def _text(spec: TensorSpec, element: bytes | memoryview) -> str:
    try:
        return bytes(element).decode()
    except UnicodeDecodeError as error:
        raise InputValueError(f"input {spec.name!r} has a string that is not UTF-8 ({error.reason})") from None


def _decoded(spec: TensorSpec, elements: Sequence[Any], budget: Budget) -> Array:
    """Decode files that are bytes or base64: one at a time, so that there are never two copies of all of them."""
    files = (
        bytes(element) if isinstance(element, bytes | memoryview) else from_base64(spec, row, element)
        for row, element in enumerate(elements)
    )
    return decode_rows(spec, files, budget)


def _sizes(sent: Sequence[Any]) -> list[int]:
    """A shape for advice; empty where it is none."""
    return list(sent) if len(sent) <= _MOST_DIMS and all(type(size) is int for size in sent) else []


def _misfit(name: str, shape: Sequence[int], what: str) -> str:
    return f"input {name!r} has {what}, which is not its shape {shown(shape)}: send {math.prod(shape)} values"
