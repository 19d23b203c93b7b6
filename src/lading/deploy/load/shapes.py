"""How the load changes during a test: a shape maps the elapsed share of the time to a share of the rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

Shape = Literal["constant", "ramp", "step", "spike", "daily"]
SHAPES: tuple[Shape, ...] = get_args(Shape)

LEAST = 0.2
"""Minimum share: at night, and before and after a spike."""
STEPS = 5


def constant(_: float) -> float:
    """The full rate from the first second, for release gates."""
    return 1.0


def ramp(moment: float) -> float:
    """From a tenth to the full rate in a straight line, to find the rate at which latency rises."""
    return 0.1 + 0.9 * moment


def step(moment: float) -> float:
    """Five equal steps, each long enough for an autoscaler to react."""
    return min(STEPS, math.floor(moment * STEPS) + 1) / STEPS


def spike(moment: float) -> float:
    """A fifth of the rate, and the full rate in the middle fifth of the time."""
    return 1.0 if 0.4 <= moment < 0.6 else LEAST


def daily(moment: float) -> float:
    """A day from midnight to midnight: minimum at 4:00, maximum at 16:00."""
    return LEAST + (1 - LEAST) * (1 + math.cos(2 * math.pi * (moment - 2 / 3))) / 2


SHARES: dict[Shape, Callable[[float], float]] = {
    "constant": constant,
    "ramp": ramp,
    "step": step,
    "spike": spike,
    "daily": daily,
}


def users_at(shape: Shape, seconds: float, *, rate: float, duration_s: float) -> int | None:
    """Number of users at a moment of the test; each sends one request per second. ``None`` after the end.

    Args:
        shape: which shape.
        seconds: since the start.
        rate: requests per second where the shape is 1.
        duration_s: length of the test.
    """
    if seconds >= duration_s:
        return None
    return max(1, round(rate * SHARES[shape](seconds / duration_s)))


Kind = Literal["plain", "v2-json", "v2-binary", "grpc"]
KINDS: tuple[Kind, ...] = get_args(Kind)
