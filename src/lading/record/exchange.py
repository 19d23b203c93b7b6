"""One answered request, as the payload log and drift detection see it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from lading.artifact.manifest import ModelInfo
from lading.spec import Array

_STRING_BYTES = 76
"""Bytes of a string as an object; its characters take up to four each."""


class Exchange(NamedTuple):
    """One request and its answer. Every request makes one, and a frozen dataclass takes three times as long."""

    request_id: str
    model: ModelInfo
    protocol: str
    """Protocol of the request, as in the metrics: ``http``, ``v2`` or ``grpc``."""
    code: int
    """HTTP status of the answer, or for gRPC its equivalent."""
    error: str
    """Error message in the answer; empty if the request succeeded."""
    seconds: float
    time: float
    """Time of the answer, in seconds since the epoch."""
    inputs: Mapping[str, Array] | None
    """Input tensors with their batch dim; ``None`` if the request could not be read."""
    outputs: Mapping[str, Array] | None

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        size = 512 + len(self.request_id) + 4 * len(self.error)
        for tensors in (self.inputs, self.outputs):
            if tensors is not None:
                for array in tensors.values():
                    size += array.nbytes if array.base is None else _kept(array)
                    if array.dtype.kind == "O":
                        size += sum(_STRING_BYTES + 4 * len(text) for text in array.ravel().tolist())
        return size


def _kept(array: Array) -> int:
    """Bytes that an array keeps in memory: its own, or the whole body that it is a part of."""
    base: object = array.base
    while type(base) is np.ndarray:
        base = base.base
    if type(base) is memoryview:
        base = base.obj
    return max(array.nbytes, len(base)) if type(base) is bytes or type(base) is bytearray else array.nbytes


USABLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
"""The form of a request id: what a log line or another service's header can hold without quoting."""


class Consumer(Protocol):
    """Receives exchanges in the recorder's thread."""

    held: int
    """Bytes that it keeps until it has stored them. They count towards the recorder's limit."""
    waiting: int
    """Rows in them, which are lost if the thread ends now."""

    def wants(self, exchange: Exchange) -> bool:
        """Return whether to record this exchange. Runs on the event loop, so it must be fast."""

    def take(self, exchange: Exchange) -> None:
        """Record the exchange."""

    def tick(self) -> None:
        """Run periodic work. Called about once per second, with or without traffic."""

    def close(self) -> None:
        """Write what is left. No exchange follows."""
