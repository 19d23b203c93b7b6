"""Passes answered requests to a background thread without waiting for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

import structlog

from lading.record.exchange import Consumer, Exchange
from lading.record.metrics import RecordingMetrics

log = structlog.get_logger("lading.recorder")
_TICK_S = 1.0
_GATHER_S = 0.05
"""Pause of the thread between its turns. Waking it for each request would take Python's lock from the event loop each
time, and cost more than the recording itself."""


class Recorder:
    """A bounded queue in front of the consumers, and the thread that empties it.

    Consumers that may wait for a disk or a network have a recorder of their own, so that others never wait for them.

    Args:
        consumers: each gets the exchanges that it wants.
        metrics: counts what is dropped.
        max_bytes: maximum size of the waiting exchanges and of what the consumers hold. More are dropped. One that is
            larger is taken when nothing else waits.
    """

    def __init__(self, consumers: Sequence[Consumer], metrics: RecordingMetrics, max_bytes: float) -> None:
        self._consumers = tuple(consumers)
        self._metrics = metrics
        self._max_bytes = max_bytes
        # Bytes put and taken. Only one thread writes each of them, so they need no lock.
        self._put = self._taken = 0
        self._queue: SimpleQueue[tuple[int, Callable[[], object]] | None] = SimpleQueue()
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, exchange: Exchange) -> None:
        """Queue one exchange, or drop it. Call it on the event loop."""
        wanted = [consumer for consumer in self._consumers if consumer.wants(exchange)]
        if wanted:
            self.post(lambda: self._hand(exchange, wanted), size=exchange.nbytes)

    def post(self, work: Callable[[], object], *, size: int = 512) -> None:
        """Run ``work`` in the thread after everything queued so far. It is dropped when the limit is reached.

        Args:
            work: what to run.
            size: bytes that it keeps in memory.
        """
        held = self._put - self._taken
        for consumer in self._consumers:
            held += consumer.held
        if held and held + size > self._max_bytes:
            self._metrics.payload_dropped.inc()
            return
        self._put += size
        self._queue.put((size, work))

    def settle(self, timeout_s: float) -> bool:
        """Wait until everything queued so far has been consumed. Blocks, so never call it on the event loop.

        Returns:
            False if that takes longer than the timeout.
        """
        settled = threading.Event()
        self._queue.put((0, settled.set))
        self._wanted.set()
        in_time = settled.wait(timeout_s)
        self._wanted.clear()
        return in_time

    def close(self, timeout_s: float) -> None:
        """Consume everything in the queue, then end the thread. If that takes too long, leave it behind and log what
        is lost."""
        if not self._thread.is_alive():
            return
        self._queue.put(None)
        self._wanted.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            lost = max(0, self._queue.qsize() - 1) + sum(consumer.waiting for consumer in self._consumers)
            self._metrics.payload_dropped.inc(lost)
            log.error(
                "recording did not end in time, and what it has not written is lost",
                consumers=[type(consumer).__name__ for consumer in self._consumers],
                rows=lost,
                seconds=round(timeout_s, 1),
            )

    def _work(self) -> None:
        while True:
            try:
                entry = self._queue.get(timeout=_TICK_S)
            except Empty:
                self._each("tick")
                continue
            if entry is None:
                break
            size, work = entry
            try:
                work()
            except Exception as error:
                self._metrics.payload_dropped.inc()
                log.warning("an answer could not be recorded", error=repr(error))
            self._taken += size
            if self._queue.empty():
                self._each("tick")
                self._wanted.wait(_GATHER_S)
        self._each("close")

    def _hand(self, exchange: Exchange, wanted: Sequence[Consumer]) -> None:
        for consumer in wanted:
            try:
                consumer.take(exchange)
            except Exception as error:
                self._metrics.payload_dropped.inc()
                log.warning("an answer could not be recorded", consumer=type(consumer).__name__, error=repr(error))

    def _each(self, call: str) -> None:
        for consumer in self._consumers:
            try:
                getattr(consumer, call)()
            except Exception as error:
                log.warning("recording failed", consumer=type(consumer).__name__, error=repr(error))
