"""Counters and histograms that every request calls several times, and their buckets.

The library's own methods check labels and arguments each time, and search the bucket in a loop.
"""

from __future__ import annotations

from bisect import bisect_left
from threading import Lock

from prometheus_client import Counter, Histogram
from prometheus_client.values import MutexValue

# From a tenth of a millisecond to ten seconds. Small models answer in 0.2 to 20 ms, so that is where the steps are at
# most a factor of two apart, and a percentile read from them is nearly exact. Above that, the order of magnitude is
# enough.
SECONDS = (
    0.0001, 0.0002, 0.0004, 0.0006, 0.0008, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class RequestHistogram(Histogram):
    """Finds its bucket by bisection, and takes one lock instead of one for each value."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._guard = Lock() if isinstance(self._sum, MutexValue) else None

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        if exemplar:
            super().observe(amount, exemplar)
            return
        bucket = self._buckets[bisect_left(self._upper_bounds, amount)]
        if self._guard is None:  # the values are in a file that the workers share
            self._sum.inc(amount)
            bucket.inc(1)
            return
        with self._guard:
            self._sum._value += amount
            bucket._value += 1


class RequestCounter(Counter):
    """Checks no labels or arguments."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._guard = Lock() if isinstance(self._value, MutexValue) else None

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        if self._guard is None or exemplar:
            super().inc(amount, exemplar)
            return
        with self._guard:
            self._value._value += amount
