"""The payload log: collects answered requests and writes them in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import structlog

from lading.manifest import ModelInfo
from lading.record.exchange import Exchange
from lading.record.metrics import RecordingMetrics
from lading.record.payload_columns import Row, row_of
from lading.record.payload_store import Sink
from lading.settings import RecordingSettings

log = structlog.get_logger("lading.payload")

MOST_TRUTHS = 10_000
"""Maximum rows of feedback that wait to be written."""


@dataclass(slots=True)
class _Open:
    """The rows of one model's next file."""

    model: ModelInfo
    rows: list[Row] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)
    bytes: int = 0
    since: float = field(default_factory=time.monotonic)


class PayloadLog:
    """A consumer of exchanges. Rows wait in memory and are stored together, so every file is complete.

    Args:
        settings: share of requests, rotation, how pictures are logged.
        sink: stores the rows.
        metrics: counts written and dropped rows.
        clock: monotonic time in seconds, for the age of a file.
    """

    def __init__(
        self,
        settings: RecordingSettings,
        sink: Sink,
        metrics: RecordingMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._sink, self._metrics, self._clock = settings, sink, metrics, clock
        self._open: dict[tuple[str, str], _Open] = {}
        self._truths: list[Row] = []
        self._truths_since = clock()

    def wants(self, exchange: Exchange) -> bool:
        return sampled(exchange.request_id, self._settings.payload_share)

    def take(self, exchange: Exchange) -> None:
        row, pictures = row_of(exchange, self._settings.payload_images)
        key = (exchange.model.name, exchange.model.version)
        if key not in self._open:
            self._open[key] = _Open(exchange.model, since=self._clock())
        waiting = self._open[key]
        size = exchange.nbytes if self._settings.payload_images == "files" else _bytes(row)
        if sum(one.bytes for one in self._open.values()) + size > self._settings.payload_buffer_mb * 1e6:
            # The sink has been failing. Drop the newest row and count it.
            self._metrics.payload_dropped.inc()
            return
        waiting.rows.append(row)
        waiting.pictures |= pictures
        waiting.bytes += size
        if waiting.bytes >= self._settings.payload_rotate_mb * 1e6:
            self._rotate(key)

    def tick(self) -> None:
        for key, waiting in list(self._open.items()):
            if self._clock() - waiting.since >= self._settings.payload_rotate_s:
                self._rotate(key)
        if self._clock() - self._truths_since >= self._settings.payload_rotate_s:
            self._truths_since = self._clock()
            self._store_truths()

    def close(self) -> None:
        for key in list(self._open):
            self._rotate(key)
        self._store_truths()

    def tell(self, rows: Sequence[Row]) -> None:
        """Log rows of feedback. Runs in the recorder's thread, like the rest of this class."""
        if len(self._truths) + len(rows) > MOST_TRUTHS:
            self._metrics.payload_dropped.inc(len(rows))
            return
        self._truths += rows

    def _store_truths(self) -> None:
        if not self._truths:
            return
        try:
            self._sink.store_truths(self._truths)
        except Exception as error:
            log.warning("feedback cannot be written", rows=len(self._truths), error=str(error))
            return
        self._truths = []

    def _rotate(self, key: tuple[str, str]) -> None:
        waiting = self._open[key]
        waiting.since = self._clock()
        if not waiting.rows:
            return
        try:
            self._sink.store(waiting.model, waiting.rows, waiting.pictures)
        except Exception as error:
            # Keep the rows and try again with the next file.
            log.warning("the payload log cannot be written", model=key[0], rows=len(waiting.rows), error=str(error))
            return
        self._metrics.payload_written.inc(len(waiting.rows))
        self._open[key] = _Open(waiting.model, since=self._clock())


def sampled(request_id: str, share: float) -> bool:
    """Return whether a request is in the logged share. Only the id decides, so all services and replicas agree."""
    return crc32(request_id.encode()) < share * 2**32


def _bytes(row: Row) -> int:
    return 256 + sum(int(getattr(value, "nbytes", 8)) for value in row.values())
