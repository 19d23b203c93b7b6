"""Walk the fields of a protobuf message. Servers do not install onnx, so its files are read by field numbers."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

_SIZES = {1: 8, 5: 4}
"""Bytes of protobuf's wire types of a fixed size."""


class Field(NamedTuple):
    """One field of a message: a number, or bytes that lie between two places."""

    number: int
    begin: int
    end: int
    value: int | None = None
    """Of a field that holds an integer; ``None`` for bytes."""


def fields(content: mmap.mmap | bytes, begin: int, end: int) -> Iterator[Field]:
    """The integers and the fields of bytes in a message.

    Raises:
        ValueError: it is no message.
    """
    while begin < end:
        tag, begin = _varint(content, begin, end)
        wire, number = tag & 7, tag >> 3
        if wire == 0:
            value, after = _varint(content, begin, end)
            yield Field(number, begin, after, value)
            begin = after
            continue
        if wire == 2:
            size, begin = _varint(content, begin, end)
        elif wire in _SIZES:
            size = _SIZES[wire]
        else:
            raise ValueError(f"a field of wire type {wire}")
        if size > end - begin:
            raise ValueError("a field is longer than the file")
        if wire == 2:
            yield Field(number, begin, begin + size)
        begin += size


def _varint(content: mmap.mmap | bytes, begin: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if begin >= end:
            break
        byte = content[begin]
        begin += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, begin
    raise ValueError("a number that is cut, or too long")
