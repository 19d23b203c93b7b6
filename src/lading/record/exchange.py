"""One answered request, as the payload log and drift detection see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from lading.manifest import ModelInfo
from lading.spec import Array


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """What was asked and what was answered."""

    request_id: str
    model: ModelInfo
    protocol: str
    """``http``, ``v2`` or ``grpc``, as in the metrics."""
    code: int
    """The HTTP status, or the one that means the same."""
    error: str
    """The sentence that was answered; empty when there was an answer."""
    seconds: float
    time: float
    """When it was answered, in seconds since the epoch."""
    inputs: Mapping[str, Array] | None
    """Batch dim included; ``None`` when the request could not be read."""
    outputs: Mapping[str, Array] | None

    @property
    def nbytes(self) -> int:
        """Bytes that its arrays keep in memory."""
        arrays = [*(self.inputs or {}).values(), *(self.outputs or {}).values()]
        return 512 + sum(array.nbytes for array in arrays)


class Consumer(Protocol):
    """What is done with exchanges, in one background thread."""

    def wants(self, exchange: Exchange) -> bool:
        """Whether to hand this one over. On the event loop: must be quick."""

    def take(self, exchange: Exchange) -> None:
        """Do it."""

    def tick(self) -> None:
        """Called about once a second, whatever the traffic."""

    def close(self) -> None:
        """Finish; nothing more is handed over."""
