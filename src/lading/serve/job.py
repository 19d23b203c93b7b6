"""One accepted request on its way through a lane."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lading.predictor import Predictor
from lading.serve.served_model import ServedModel
from lading.serve.stages import Stages
from lading.spec import Array

Read = Callable[[], Mapping[str, Array]]
"""Turns a request's bytes into arrays, batch dim included. Runs in a lane, and may raise RequestError."""
Outcome = dict[str, Array] | BaseException | None
"""A job's outputs, why there are none, or ``None`` when nobody waits for them."""
Done = Callable[[dict[str, Array] | BaseException], None]


@dataclass(slots=True, eq=False)
class Job:
    """What the event loop hands to a lane, and gets back."""

    model: ServedModel
    predictor: Predictor
    read: Read
    queued: float
    """When it was accepted, on ``time.perf_counter``, in seconds."""
    deadline: float
    """On the same clock."""
    size: int
    """Bytes of its body."""
    expected: float
    """Seconds in a lane that it was reckoned to take when it was accepted."""
    done: Done
    """Called once on the event loop with its outputs, or with why there are none, unless it was abandoned."""
    abandoned: bool = False
    """Set on the event loop when the caller has gone; the job is dropped then, unless a lane has begun with it."""
    stages: Stages | None = None
    """Where to note when it was where; only for a request that is traced."""
