"""What a payload log writes to."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from lading.artifact import ModelInfo
from lading.payload.columns import Row, schema_of, table_of, truth_table
from lading.payload.destination import Bucket, Destination, Folder
from lading.payload.otlp import OtlpLogs
from lading.payload.require import require_pyarrow
from lading.recording_settings import RecordingSettings

if TYPE_CHECKING:
    import pyarrow as pa

OTLP = "otlp+"


class Sink(Protocol):
    """Takes some rows of one model at a time."""

    def store(self, model: ModelInfo, rows: Sequence[Row], pictures: Mapping[str, bytes]) -> None:
        """Store rows; they are kept once this returns.

        Raises:
            OSError: they could not be stored, and may be tried again.
        """

    def store_truths(self, rows: Sequence[Row]) -> None:
        """Store feedback: ``time``, ``request_id``, ``output`` and ``truth`` (JSON). Raises as :meth:`store`."""


class ParquetFiles:
    """``NAME/VERSION/date=YYYY-MM-DD/*.parquet``, and pictures in a folder beside them.

    Args:
        destination: where files go.
        settings: what is kept of pictures.
    """

    def __init__(self, destination: Destination, settings: RecordingSettings) -> None:
        self._parquet = require_pyarrow("the payload log").parquet
        self._destination, self._settings = destination, settings
        self._written = 0

    def store(self, model: ModelInfo, rows: Sequence[Row], pictures: Mapping[str, bytes]) -> None:
        folder = PurePosixPath(model.name, model.version)
        dated = folder / f"date={datetime.now(UTC):%Y-%m-%d}"
        for name, content in pictures.items():
            self._destination.write(dated / "pictures" / name, content)
        self._write(folder, table_of(rows, schema_of(model, self._settings.payload_images)))
        self._destination.prune()

    def store_truths(self, rows: Sequence[Row]) -> None:
        self._write(PurePosixPath("feedback"), truth_table(rows))

    def _write(self, folder: PurePosixPath, table: pa.Table) -> None:
        now = datetime.now(UTC)
        self._written += 1
        file = f"{now:%H%M%S}-{socket.gethostname()}-{os.getpid()}-{self._written}.parquet"
        buffer = io.BytesIO()
        self._parquet.write_table(table, buffer, compression="zstd")
        self._destination.write(folder / f"date={now:%Y-%m-%d}" / file, buffer.getvalue())


def sink(settings: RecordingSettings) -> Sink:
    """What ``LADING_PAYLOAD_LOG`` names.

    Raises:
        SettingsError: it cannot be used; says why.
    """
    address = settings.payload_log or ""
    if address.startswith(OTLP):
        return OtlpLogs(address.removeprefix(OTLP))
    where: Destination
    if "://" in address:
        where = Bucket(address)
    else:
        where = Folder(Path(address), most_bytes=settings.payload_disk_mb * 1e6, keep_s=settings.payload_keep_h * 3600)
    return ParquetFiles(where, settings)
