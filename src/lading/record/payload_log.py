"""The payload log: collects answered requests and writes them in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from sys import getsizeof
from zlib import crc32

import numpy as np
import structlog

from lading.artifact.manifest import ModelInfo
from lading.record.batch import Batch, Sink
from lading.record.exchange import Exchange
from lading.record.metrics import RecordingMetrics
from lading.record.payload_columns import Row, row_of
from lading.record.payload_folder import FEEDBACK
from lading.settings.recording import RecordingSettings

log = structlog.get_logger("lading.payload")

_ROW_BYTES = 1024
"""Estimate for a row's dictionary and its objects, in addition to its arrays and texts."""


@dataclass(slots=True)
class _Open:
    """The rows of the next file of one artifact, or of the truths."""

    model: ModelInfo | None
    """``None`` for the truths."""
    since: float
    batch: Batch = field(default_factory=Batch.new)
    rows: list[Row] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)
    bytes: int = 0
    failed: bool = False
    """The last attempt to store it failed; the next one waits for :meth:`PayloadLog.tick`."""


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
        self._open: dict[str, _Open] = {}
        """By the artifact's digest: rows of two artifacts may have different columns."""
        self.held = 0
        self.waiting = 0

    def wants(self, exchange: Exchange) -> bool:
        return self.logs(exchange.request_id)

    def logs(self, request_id: str) -> bool:
        """Whether an answer with this id is logged, by this server or by another one with the same settings."""
        return sampled(request_id, self._settings.payload_share)

    def take(self, exchange: Exchange) -> None:
        row, pictures = row_of(exchange, self._settings.payload_images)
        size = _bytes(row) + sum(len(content) for content in pictures.values())
        self._add(exchange.model.digest, exchange.model, [row], pictures, size)

    def tick(self) -> None:
        for key, waiting in list(self._open.items()):
            if self._clock() - waiting.since >= self._settings.payload_rotate_s:
                self._rotate(key)

    def close(self) -> None:
        for key in list(self._open):
            self._rotate(key)
        if self.waiting:
            self._metrics.payload_dropped.inc(self.waiting)
            log.error("rows of the payload log could not be written and are lost", rows=self.waiting)

    def tell(self, rows: Sequence[Row]) -> None:
        """Log rows of feedback. Runs in the recorder's thread, like the rest of this class."""
        self._add(FEEDBACK, None, rows, {}, sum(map(_bytes, rows)))

    def _add(
        self, key: str, model: ModelInfo | None, rows: Sequence[Row], pictures: Mapping[str, bytes], size: int
    ) -> None:
        if self.held + size > self._settings.payload_buffer_mb * 1e6:
            # The sink has been failing. Drop the newest rows and count them.
            self._metrics.payload_dropped.inc(len(rows))
            return
        waiting = self._open.get(key)
        if waiting is None:
            waiting = self._open[key] = _Open(model, since=self._clock())
        waiting.rows += rows
        waiting.pictures |= pictures
        waiting.bytes += size
        self.held += size
        self.waiting += len(rows)
        if waiting.bytes >= self._settings.payload_rotate_mb * 1e6 and not waiting.failed:
            self._rotate(key)

    def _rotate(self, key: str) -> None:
        waiting = self._open[key]
        waiting.since = self._clock()
        known = {"model": waiting.model.name if waiting.model else FEEDBACK, "rows": len(waiting.rows)}
        try:
            if waiting.model is None:
                self._sink.store_truths(waiting.batch, waiting.rows)
            else:
                self._sink.store(waiting.batch, waiting.model, waiting.rows, waiting.pictures)
        except OSError as error:
            # Keep the rows and try again with the next file.
            waiting.failed = True
            log.warning("the payload log cannot be written", error=str(error), **known)
            return
        except Exception as error:
            # These rows have no columns; another attempt would fail in the same way and stop the log.
            self._metrics.payload_dropped.inc(len(waiting.rows))
            log.error("rows cannot be written to the payload log and are dropped", error=repr(error), **known)
        else:
            if waiting.model is not None:
                self._metrics.payload_written.inc(len(waiting.rows))
        del self._open[key]
        self.held -= waiting.bytes
        self.waiting -= len(waiting.rows)


def sampled(request_id: str, share: float) -> bool:
    """Return whether a request is in the logged share. Only the id decides, so all services and replicas agree."""
    return crc32(request_id.encode()) < share * 2**32


def _bytes(row: Row) -> int:
    """Size of a row in memory, in bytes: arrays, texts, and lists of the names of files."""
    size = _ROW_BYTES
    for value in row.values():
        kind = type(value)
        if kind is np.ndarray:
            size += value.nbytes
        elif kind is str:
            size += 4 * len(value)
        elif kind is list:
            size += sum(map(getsizeof, value))
    return size
