"""Which other files an ONNX graph reads weights from. Servers do not install onnx, so its fields are walked here."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from lading.errors import ArtifactError

# Field numbers of onnx.proto3 that lead to tensors: message, field, message of the field.
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_KEY, _VALUE, _BYTES = 1, 2, 2
_SIZES = {1: 8, 5: 4}
"""Bytes of protobuf's wire types of a fixed size."""


def external_files(graph: Path) -> set[str]:
    """The locations that the tensors of an ONNX file name, as they are written there.

    Raises:
        ArtifactError: the file is no ONNX graph.
    """
    if not graph.stat().st_size:
        return set()
    with graph.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"location") < 0:  # the name of the entry, so there is none
            return set()
        try:
            return set(_locations(content))
        except (IndexError, ValueError) as error:
            raise ArtifactError(f"{graph} is not an ONNX graph: {error}") from None


def _locations(content: mmap.mmap) -> Iterator[str]:
    waiting = [("model", 0, len(content))]
    while waiting:
        kind, begin, end = waiting.pop()
        if kind == "entry":
            fields = {number: content[at:until] for number, at, until in _fields(content, begin, end)}
            if fields.get(_KEY) == b"location":
                yield fields.get(_VALUE, b"").decode()
            continue
        inside = _INSIDE[kind]
        waiting += [
            (inside[number], at, until) for number, at, until in _fields(content, begin, end) if number in inside
        ]


def _fields(content: mmap.mmap, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of each field of bytes in a message."""
    while begin < end:
        tag, begin = _varint(content, begin, end)
        wire = tag & 7
        if wire == 0:
            _, begin = _varint(content, begin, end)
            continue
        if wire == _BYTES:
            size, begin = _varint(content, begin, end)
        elif wire in _SIZES:
            size = _SIZES[wire]
        else:
            raise ValueError(f"a field of wire type {wire}")
        if size > end - begin:
            raise ValueError("a field is longer than the file")
        if wire == _BYTES:
            yield tag >> 3, begin, begin + size
        begin += size


def _varint(content: mmap.mmap, begin: int, end: int) -> tuple[int, int]:
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
