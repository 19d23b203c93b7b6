"""The last minutes for the status page: a ring of the counters, sampled every two seconds.

Requests do not get slower: the ring reads the existing counters on the event loop, in a fraction of a millisecond. With
several workers it reads them in a thread, because their counters are in files.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from lading.serve.telemetry.metrics import Metrics
from lading.serve.telemetry.request_series import SECONDS

INTERVAL_S = 2.0
LENGTH = 151
"""Samples: five minutes, plus the start of the first interval."""
SPAN = 5
"""Intervals over which rates and quantiles are computed, to smooth the curve of a slow service."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters of all models together at one time."""

    at: float
    """On ``time.monotonic``, in seconds."""
    answered: float
    failed: float
    """Answered with 5xx."""
    shed: float
    queue: float
    batch_sum: float
    batch_count: float
    durations: tuple[float, ...]
    """Cumulative counts of the buckets of ``lading_request_duration_seconds``."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Figures between two samples; ``None`` where there is no data."""

    at: float
    rate: float
    """Answers per second."""
    failed: float
    """Answers with 5xx per second."""
    shed: float
    queue: float
    batch: float | None
    p50: float | None
    """Seconds."""
    p99: float | None


class History:
    """The ring of samples.

    Args:
        metrics: the counters to read.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._ring: deque[Sample] = deque(maxlen=LENGTH)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start sampling."""
        self._task = asyncio.get_running_loop().create_task(self._keep_sampling())

    async def stop(self) -> None:
        """Stop sampling."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def sample(self) -> None:
        """Take one sample."""
        self._ring.append(take_sample(self._metrics))

    def intervals(self) -> list[Interval]:
        """Oldest first; empty before the second sample."""
        samples = list(self._ring)
        bounds = SECONDS
        return [between(samples[max(0, i - SPAN)], samples[i], bounds) for i in range(1, len(samples))]

    async def _keep_sampling(self) -> None:
        while True:
            if self._metrics.shared:
                # Other workers' values are read from files, which takes milliseconds.
                await asyncio.to_thread(self.sample)
            else:
                self.sample()
            await asyncio.sleep(INTERVAL_S)


def take_sample(metrics: Metrics) -> Sample:
    """Read the counters now."""
    answered = failed = shed = batch_sum = batch_count = queue = 0.0
    durations: dict[str, float] = {}
    for family in metrics.of_the_status_page():
        for sample in family.samples:
            if sample.name == "lading_requests_total":
                answered += sample.value
                failed += sample.value if sample.labels["code"].startswith("5") else 0.0
            elif sample.name == "lading_shed_total":
                shed += sample.value
            elif sample.name == "lading_queue_length":
                queue += sample.value
            elif sample.name == "lading_batch_size_sum":
                batch_sum += sample.value
            elif sample.name == "lading_batch_size_count":
                batch_count += sample.value
            elif sample.name == "lading_request_duration_seconds_bucket":
                le = sample.labels["le"]
                durations[le] = durations.get(le, 0.0) + sample.value
    return Sample(time.monotonic(), answered, failed, shed, queue, batch_sum, batch_count, tuple(durations.values()))


def between(before: Sample, after: Sample, bounds: Sequence[float]) -> Interval:
    """The figures from one sample to another."""
    seconds = max(1e-9, after.at - before.at)
    runs = after.batch_count - before.batch_count
    # The histogram has no series before the first request.
    earlier = before.durations or (0.0,) * len(after.durations)
    counts = [late - early for late, early in zip(after.durations, earlier, strict=True)]
    return Interval(
        at=after.at,
        rate=(after.answered - before.answered) / seconds,
        failed=(after.failed - before.failed) / seconds,
        shed=(after.shed - before.shed) / seconds,
        queue=after.queue,
        batch=(after.batch_sum - before.batch_sum) / runs if runs else None,
        p50=quantile(0.5, bounds, counts),
        p99=quantile(0.99, bounds, counts),
    )


def quantile(share: float, bounds: Sequence[float], cumulative: Sequence[float]) -> float | None:
    """A quantile from buckets, as Prometheus' ``histogram_quantile`` computes it: linear within a bucket.

    Args:
        share: 0 to 1.
        bounds: upper bounds of the buckets, ascending, without infinity.
        cumulative: counts up to each bound, and up to infinity.

    Returns:
        In the unit of the bounds. ``None`` without counts; the last bound if it is in the infinite bucket.
    """
    if not cumulative or cumulative[-1] <= 0:
        return None
    rank = share * cumulative[-1]
    low, below = 0.0, 0.0
    for bound, count in zip(bounds, cumulative, strict=False):
        if count >= rank:
            return low + (bound - low) * (rank - below) / (count - below) if count > below else bound
        low, below = bound, count
    return bounds[-1]
