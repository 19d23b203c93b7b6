"""Triton's binary tensor data: JSON, and raw tensors after it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oip_conformance.rest_client import JSON_LENGTH, Answer
from oip_conformance.statement import Failed, require, shown
from oip_conformance.tensors import Tensor, described, from_json, from_raw

OCTETS = "application/octet-stream"


@dataclass(frozen=True)
class Binary:
    """A response with binary data, taken apart."""

    answer: Answer
    content: dict[str, Any]
    raw: bytes

    @classmethod
    def of(cls, answer: Answer) -> Binary:
        """Split the body.

        Raises:
            Failed: it is not answered with 200, the header is missing or wrong, or the first part is not JSON.
        """
        answer.require_status(200)
        header = answer.headers.get(JSON_LENGTH, "")
        require(header, f"the response has no header {JSON_LENGTH}")
        fits = header.isdigit() and int(header) <= len(answer.body)
        require(fits, f"{JSON_LENGTH} is {header!r}, and the body has {len(answer.body)} bytes")
        try:
            content = json.loads(answer.body[: int(header)])
        except ValueError:
            raise Failed(f"the first {header} bytes are not JSON: {shown(answer.body[: int(header)])}") from None
        require(isinstance(content, dict), f"the JSON is no object: {shown(content)}")
        return cls(answer, content, answer.body[int(header) :])

    def entries(self) -> list[dict[str, Any]]:
        """The ``outputs``."""
        found = self.content.get("outputs")
        require(isinstance(found, list) and found, f"`outputs` is {shown(found)}")
        return list(found or [])

    def outputs(self) -> list[Tensor]:
        """All outputs, from JSON or from the bytes in their order.

        Raises:
            Failed: the bytes are not those that the JSON announces.
        """
        tensors, used = [], 0
        for entry in self.entries():
            size = size_of(entry)
            if size is None:
                tensors.append(from_json(entry))
                continue
            name, datatype, shape = described(entry)
            require(used + size <= len(self.raw), f"{name!r} announces {size} bytes, and the body ends before")
            tensors.append(from_raw(name, datatype, shape, self.raw[used : used + size]))
            used += size
        require(used == len(self.raw), f"{len(self.raw) - used} bytes at the end belong to no output")
        return tensors


def size_of(entry: Mapping[str, Any]) -> int | None:
    """``binary_data_size`` of an entry; ``None`` where it has none."""
    parameters = entry.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, Mapping) else None
    require(size is None or type(size) is int, f"`binary_data_size` is {shown(size)}, not an integer")
    return size


def body_of(request: Mapping[str, Any], raw: Sequence[bytes] = ()) -> tuple[bytes, dict[str, str]]:
    """JSON and the bytes after it, with the headers that say where one ends."""
    head = json.dumps(request).encode()
    return b"".join([head, *raw]), {JSON_LENGTH: str(len(head)), "Content-Type": OCTETS}


def binary_inputs(inputs: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Entries of ``inputs`` whose data are bytes after the JSON."""
    return [
        {
            "name": tensor.name,
            "shape": tensor.shape,
            "datatype": tensor.datatype,
            "parameters": {"binary_data_size": len(tensor.raw())},
        }
        for tensor in inputs
    ]
