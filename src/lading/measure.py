"""Timing several runners against each other, so that noise on a shared machine does not pick the winner.

All runners take turns in every round, in an order shuffled anew. What disturbs the machine for a second disturbs them
all, and a quotient is taken inside a round before anything is averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from lading.measurement import Ratio, Timing

Samples = list[NDArray[np.float64]]
"""Latencies in milliseconds, one float64 (runs,) a round."""
RESAMPLES = 2000
CONFIDENCE = 0.95
MIN_RUNS = 3


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int
    turn_ms: float
    """Time that a runner gets in a round; it runs at least ``MIN_RUNS`` times."""


def measure(
    runners: Mapping[str, Callable[[], object]],
    plan: Plan,
    *,
    seed: int = 0,
    after_round: Callable[[], None] = lambda: None,
) -> dict[str, Samples]:
    """Run everything in interleaved rounds.

    Args:
        runners: each call is one inference.
        plan: rounds and time.
        seed: of the order.
        after_round: called after each round, for a progress bar.

    Returns:
        Samples by runner.
    """
    rng = np.random.default_rng(seed)
    samples: dict[str, Samples] = {name: [] for name in runners}
    for run in runners.values():
        run()
    for _ in range(plan.rounds):
        for index in rng.permutation(len(runners)):
            name = list(runners)[index]
            samples[name].append(_turn(runners[name], plan.turn_ms))
        after_round()
    return samples


def timing(samples: Samples, *, batch: int, threads: int) -> Timing:
    """Summarise one runner: percentiles over all runs, and an interval for the median of the rounds' medians."""
    pooled = np.concatenate(samples)
    medians = np.array([np.median(turn) for turn in samples])
    low, high = interval(medians)
    p50, p90, p99 = (float(value) for value in np.percentile(pooled, (50, 90, 99)))
    return Timing(
        batch=batch, threads=threads, p50_ms=p50, p90_ms=p90, p99_ms=p99, low_ms=low, high_ms=high, runs=len(pooled)
    )


def ratio(slower: Samples, faster: Samples) -> Ratio:
    """How many times faster the second is: the median over rounds of the quotient of the two medians."""
    quotients = np.array([np.median(a) / np.median(b) for a, b in zip(slower, faster, strict=True)])
    low, high = interval(quotients)
    return Ratio(value=float(np.median(quotients)), low=low, high=high)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % percentile-bootstrap interval of the median (Efron and Tibshirani, 1993, chapter 13).

    Args:
        values: float64 (n,).

    Returns:
        Lower and upper end; the same for the same values.
    """
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(values, size=(RESAMPLES, len(values))), axis=1)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(medians, (tail, 100 - tail))
    return float(low), float(high)


def _turn(run: Callable[[], object], turn_ms: float) -> NDArray[np.float64]:
    latencies: list[float] = []
    run()  # the caches still hold the runner before this one
    end = perf_counter_ns() + turn_ms * 1e6
    while len(latencies) < MIN_RUNS or perf_counter_ns() < end:
        start = perf_counter_ns()
        run()
        latencies.append((perf_counter_ns() - start) / 1e6)
    return np.array(latencies)
