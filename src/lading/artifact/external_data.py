"""Which other files an ONNX graph reads weights from. Servers do not install onnx, so its fields are walked here."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from lading.artifact.wire import fields
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
_KEY, _VALUE = 1, 2


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
            found = {field.number: content[field.begin : field.end] for field in fields(content, begin, end)}
            if found.get(_KEY) == b"location":
                yield found.get(_VALUE, b"").decode()
            continue
        inside = _INSIDE[kind]
        waiting += [
            (inside[field.number], field.begin, field.end)
            for field in fields(content, begin, end)
            if field.number in inside and field.value is None
        ]
