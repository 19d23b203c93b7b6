"""Counters and histograms that every request calls several times, and their buckets.

The library's own methods check labels and arguments each time, take a lock for each value, and search the bucket in a
loop. Here an amount is put on a queue, which is emptied when it is long or its series is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from threading import Lock

import numpy as np
from prometheus_client import Counter, Histogram
from prometheus_client.samples import Sample
from prometheus_client.values import MutexValue

# From a tenth of a millisecond to ten seconds. Small models answer in 0.2 to 20 ms, so that is where the steps are at
# most a factor of two apart, and a percentile read from them is nearly exact. Above that, the order of magnitude is
# enough.
SECONDS = (
    0.0001, 0.0002, 0.0004, 0.0006, 0.0008, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


_MOST = 256
"""Amounts that wait: few enough to be counted in some microseconds."""


class RequestHistogram(Histogram):
    """Counts many amounts at once, where no other process reads the values."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self.own = isinstance(self._sum, MutexValue)
        """Otherwise the values are in a file that the workers share."""
        self.answers: list[Answers] = []
        """Count in this series, and have to before it is read."""
        self._waiting: deque[float] = deque()
        self._guard = Lock()

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        if exemplar or not self.own:
            super().observe(amount, exemplar)
            return
        waiting = self._waiting
        waiting.append(amount)
        if len(waiting) >= _MOST:
            self._count()

    def add(self, amounts: Sequence[float]) -> None:
        """Count some amounts, where no other process reads the values."""
        with self._guard:
            self._sum._value += sum(amounts)
            places = np.searchsorted(self._upper_bounds, amounts)
            for bucket, count in zip(self._buckets, np.bincount(places).tolist(), strict=False):
                bucket._value += count

    def _count(self) -> None:
        with self._guard:
            amounts = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if amounts:
            self.add(amounts)

    def _child_samples(self) -> Iterable[Sample]:
        for one in self.answers:
            one.count()
        self._count()
        return super()._child_samples()


class RequestCounter(Counter):
    """Is counted up by :class:`Answers`."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self.answers: list[Answers] = []
        """Count in this series, and have to before it is read."""

    def _child_samples(self) -> Iterable[Sample]:
        for one in self.answers:
            one.count()
        return super()._child_samples()


class Answers:
    """The series that answers of one kind are counted in: their number, their duration, and the bytes of both ways."""

    def __init__(
        self, requests: RequestCounter, duration: RequestHistogram, received: RequestCounter, sent: RequestCounter
    ) -> None:
        self._requests, self._duration, self._received, self._sent = requests, duration, received, sent
        self._waiting: deque[tuple[float, int, int]] = deque()
        self._guard = Lock()
        for series in (requests, duration, received, sent):
            series.answers.append(self)

    def add(self, seconds: float, received: int, sent: int) -> None:
        """Count one answer."""
        waiting = self._waiting
        waiting.append((seconds, received, sent))
        if len(waiting) >= _MOST or not self._duration.own:
            self.count()

    def count(self) -> None:
        """Count the answers that wait."""
        with self._guard:
            answers = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not answers:
            return
        seconds, received, sent = zip(*answers, strict=True)
        if self._duration.own:
            self._duration.add(seconds)
        else:
            for one in seconds:
                self._duration.observe(one)
        self._requests.inc(len(answers))
        self._received.inc(sum(received))
        self._sent.inc(sum(sent))
