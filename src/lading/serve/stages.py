"""When a request was in which stage of its way, for those requests that are traced."""

from __future__ import annotations

from dataclasses import dataclass

Span = tuple[float, float]
"""From and until, on ``time.perf_counter``, in seconds."""


@dataclass(slots=True, eq=False)
class Stages:
    """Filled in by the lane; a stage that was not reached stays ``None``."""

    queue: Span | None = None
    decode: Span | None = None
    inference: Span | None = None
    rows: int = 0
    """Examples in the run that the request shared."""
