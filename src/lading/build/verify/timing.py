"""Time variants in interleaved rounds, with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from lading.artifact.manifest import PAYS, Ratio, Timing

Samples = list[NDArray[np.float64]]
"""Latencies in milliseconds: one float64 (runs,) per round."""
RESAMPLES = 2000
CONFIDENCE = 0.95
MIN_RUNS = 3


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int
    turn_ms: float
    """Milliseconds per runner and round. A runner always runs at least ``MIN_RUNS`` times."""


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
        seed: seed for the order.
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
    """How many times as fast the second is: the median over rounds of the quotient of the two medians."""
    quotients = np.array([np.median(a) / np.median(b) for a, b in zip(slower, faster, strict=True)])
    low, high = interval(quotients)
    return Ratio(value=float(np.median(quotients)), low=low, high=high)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % percentile-bootstrap interval of the median (Efron and Tibshirani, 1993, chapter 13).

    Args:
        values: float64 (n,).

    Returns:
        Lower and upper end; deterministic.
    """
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(values, size=(RESAMPLES, len(values))), axis=1)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(medians, (tail, 100 - tail))
    return float(low), float(high)


def _turn(run: Callable[[], object], turn_ms: float) -> NDArray[np.float64]:
    latencies: list[float] = []
    run()  # Not counted: the caches still have the data of the runner before.
    end = perf_counter_ns() + turn_ms * 1e6
    while len(latencies) < MIN_RUNS or perf_counter_ns() < end:
        start = perf_counter_ns()
        run()
        latencies.append((perf_counter_ns() - start) / 1e6)
    return np.array(latencies)


ALONE = " alone"
"""Suffix of a runner at :data:`FIRST` that takes turns with larger batches, to measure the speed of the machine."""
FIRST = (1, 1)
"""Batch and threads of the deciding cell: one request on one thread."""


@dataclass(frozen=True)
class Speed:
    """One variant's timings and speed-ups."""

    timings: tuple[Timing, ...]
    speedup: Ratio
    speedup_torch: Ratio | None
    round_ms: tuple[float, ...]
    """Median milliseconds of each round at :data:`FIRST`."""


class Timings:
    """Samples by batch and threads, then by runner."""

    def __init__(self) -> None:
        self.samples: dict[tuple[int, int], dict[str, Samples]] = {}

    def add(self, cell: tuple[int, int], samples: Mapping[str, Samples]) -> None:
        """Add the samples of a cell, corrected for changes in the speed of the machine since :data:`FIRST`.

        Whether a larger batch makes an example cheaper is a comparison between cells. Cells are measured one after
        another, and a shared machine may be half as fast a second later. Runners with the suffix ``ALONE`` measure
        that; without them the samples are added as they are.
        """
        anchors = {name.removesuffix(ALONE): turns for name, turns in samples.items() if name.endswith(ALONE)}
        own = {name: turns for name, turns in samples.items() if not name.endswith(ALONE)}
        judged = {name: median(self.samples[FIRST][name]) for name in anchors}
        for number in range(len(next(iter(anchors.values()), []))):
            ratios = [np.median(turns[number]) / judged[name] for name, turns in anchors.items()]
            slower = float(np.median(ratios))
            for turns in own.values():
                turns[number] = turns[number] / slower
        self.samples[cell] = own

    def of(self, name: str) -> tuple[Timing, ...]:
        return tuple(
            timing(runners[name], batch=batch, threads=threads)
            for (batch, threads), runners in self.samples.items()
            if name in runners
        )

    def pays(self, batch: int) -> bool:
        """Whether this batch makes an example cheaper than half the batch does, for any variant."""
        if batch < 2 or (batch // 2, 1) not in self.samples:
            return False
        half, whole = self.samples[batch // 2, 1], self.samples[batch, 1]
        names = (half.keys() & whole.keys()) - {EAGER, COMPILED}
        cost = [(median(half[name]) * 2, median(whole[name])) for name in names]
        return any(larger < (1 - PAYS) * smaller for smaller, larger in cost)

    def against(self, reference: str, name: str) -> Speed:
        judged = self.samples[FIRST]
        same = Ratio(value=1.0, low=1.0, high=1.0)
        return Speed(
            self.of(name),
            same if name == reference else ratio(judged[reference], judged[name]),
            ratio(judged[EAGER], judged[name]) if EAGER in judged else None,
            tuple(float(np.median(turn)) for turn in judged[name]),
        )


def median(samples: Samples) -> float:
    """Milliseconds: the median of all runs."""
    return float(np.median(np.concatenate(samples)))


EAGER = "torch eager"
COMPILED = "torch.compile"
