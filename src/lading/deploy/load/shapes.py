"""How load changes during a test: each shape is the share of the full rate at a moment, both from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

Shape = Literal["constant", "ramp", "step", "spike", "daily"]
SHAPES: tuple[Shape, ...] = get_args(Shape)

LEAST = 0.2
"""Share at night, and before and after a spike."""
STEPS = 5


def constant(_: float) -> float:
    """The full rate from the first second: what a release gate wants."""
    return 1.0


def ramp(moment: float) -> float:
    """From a tenth to the full rate in a line: finds the rate at which latency turns up."""
    return 0.1 + 0.9 * moment


def step(moment: float) -> float:
    """Five stairs of equal height and length: an autoscaler has time to answer each."""
    return min(STEPS, math.floor(moment * STEPS) + 1) / STEPS


def spike(moment: float) -> float:
    """A fifth of the rate, and all of it in the middle fifth of the time: five times as much at once."""
    return 1.0 if 0.4 <= moment < 0.6 else LEAST


def daily(moment: float) -> float:
    """A day from midnight to midnight: least at four in the morning, most at four in the afternoon."""
    return LEAST + (1 - LEAST) * (1 + math.cos(2 * math.pi * (moment - 2 / 3))) / 2


SHARES: dict[Shape, Callable[[float], float]] = {
    "constant": constant,
    "ramp": ramp,
    "step": step,
    "spike": spike,
    "daily": daily,
}


def users_at(shape: Shape, seconds: float, *, rate: float, duration_s: float) -> int | None:
    """Users at a moment of the test, each of whom sends one request a second; ``None`` when it is over.

    Args:
        shape: which curve.
        seconds: since the start.
        rate: requests a second where the curve is 1.
        duration_s: length of the test.
    """
    if seconds >= duration_s:
        return None
    return max(1, round(rate * SHARES[shape](seconds / duration_s)))


Kind = Literal["plain", "v2-json", "v2-binary", "grpc"]
KINDS: tuple[Kind, ...] = get_args(Kind)
