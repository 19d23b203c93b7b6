"""One answered request, as the payload log and drift detection see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from lading.manifest import ModelInfo
from lading.spec import Array


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """One request and its answer."""

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
        arrays = [*(self.inputs or {}).values(), *(self.outputs or {}).values()]
        return 512 + sum(array.nbytes for array in arrays)


class Consumer(Protocol):
    """Receives exchanges in the recorder's thread."""

    def wants(self, exchange: Exchange) -> bool:
        """Return whether to record this exchange. Runs on the event loop, so it must be fast."""

    def take(self, exchange: Exchange) -> None:
        """Record the exchange."""

    def tick(self) -> None:
        """Run periodic work. Called about once per second, with or without traffic."""

    def close(self) -> None:
        """Write what is left. No exchange follows."""
