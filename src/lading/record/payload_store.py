"""Where the payload log's files go: a folder, a bucket, or an OTLP collector."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from lading.errors import SettingsError
from lading.files import first_line, open_bucket, shown, write_atomically
from lading.manifest import ModelInfo
from lading.record.payload_columns import Row, require, require_pyarrow, schema_of, table_of, truth_table
from lading.settings import RecordingSettings

if TYPE_CHECKING:
    import pyarrow as pa

OTLP = "otlp+"
BUCKETS = ("gs", "s3", "az")
REQUEST, RETRIES = timedelta(minutes=1), timedelta(minutes=1)
"""Timeout of one upload, and time in which it is tried again. The log keeps its rows and tries again after that."""


class Sink(Protocol):
    """Stores rows of the payload log."""

    def store(self, model: ModelInfo, rows: Sequence[Row], pictures: Mapping[str, bytes]) -> None:
        """Store rows of one model, and encoded files by their path. They are durable once this returns.

        Raises:
            OSError: the rows were not stored. The caller may try again.
        """

    def store_truths(self, rows: Sequence[Row]) -> None:
        """Store feedback: ``time``, ``request_id``, ``output`` and ``truth`` (JSON). Raises as :meth:`store`."""


class ParquetFiles:
    """``NAME/VERSION/date=YYYY-MM-DD/*.parquet``, and encoded files in a folder next to them, such as ``pictures``.

    Args:
        destination: a folder or a bucket.
        settings: how pictures are logged.

    Raises:
        SettingsError: pyarrow is not installed.
    """

    def __init__(self, destination: Destination, settings: RecordingSettings) -> None:
        self._parquet = require_pyarrow("the payload log").parquet
        self._destination, self._settings = destination, settings
        self._written = 0

    def store(self, model: ModelInfo, rows: Sequence[Row], pictures: Mapping[str, bytes]) -> None:
        folder = PurePosixPath(model.name, model.version)
        dated = folder / f"date={datetime.now(UTC):%Y-%m-%d}"
        for name, content in pictures.items():
            self._destination.write(dated / name, content)
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
    """Open the destination in ``LADING_PAYLOAD_LOG``.

    Raises:
        SettingsError: it cannot be used, or a package for it is not installed.
    """
    address = settings.payload_log or ""
    if address.startswith(OTLP):
        require("opentelemetry.exporter.otlp.proto.http._log_exporter", "a payload log over OTLP", extra="otel")
        from lading.record.otlp import OtlpLogs

        return OtlpLogs(address.removeprefix(OTLP))
    where: Destination
    if "://" in address:
        where = Bucket(address)
    else:
        where = Folder(Path(address), most_bytes=settings.payload_disk_mb * 1e6, keep_s=settings.payload_keep_h * 3600)
    return ParquetFiles(where, settings)


class Destination(Protocol):
    """Stores whole files."""

    def write(self, path: PurePosixPath, content: bytes) -> None:
        """Store a file completely or not at all. It survives a crash once this returns.

        Raises:
            OSError: the file was not stored.
        """

    def prune(self) -> None:
        """Delete the oldest files beyond the limits on age and size."""


class Folder:
    """A folder on a local disk.

    Args:
        root: the folder; created if it is missing.
        most_bytes: maximum size of all files together.
        keep_s: maximum age of a file, in seconds.

    Raises:
        SettingsError: the folder cannot be created or written.
    """

    def __init__(self, root: Path, *, most_bytes: float, keep_s: float) -> None:
        self._root, self._most_bytes, self._keep_s = root, most_bytes, keep_s
        try:
            root.mkdir(parents=True, exist_ok=True)
            probe = root / f".probe-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise SettingsError(f"LADING_PAYLOAD_LOG={root} cannot be written: {error.strerror}") from None

    def write(self, path: PurePosixPath, content: bytes) -> None:
        write_atomically(self._root / path, content)

    def prune(self) -> None:
        files = sorted(
            (file for file in self._root.rglob("*") if file.is_file()), key=lambda file: file.stat().st_mtime
        )
        total = sum(file.stat().st_size for file in files)
        oldest = time.time() - self._keep_s
        for file in files:
            status = file.stat()
            if total <= self._most_bytes and status.st_mtime >= oldest:
                break
            file.unlink(missing_ok=True)
            total -= status.st_size


class Bucket:
    """A prefix in a bucket of Google Cloud, S3 or Azure. Old objects are left to the bucket's lifecycle rules.

    Args:
        url: ``gs://bucket/prefix``, ``s3://bucket/prefix`` or ``az://container/prefix``.

    Raises:
        SettingsError: the address cannot be used, or obstore is not installed.
    """

    def __init__(self, url: str) -> None:
        self._obstore = require("obstore", "a payload log in a bucket")
        if urlsplit(url).scheme not in BUCKETS:
            known = ", ".join(f"{scheme}://NAME" for scheme in BUCKETS)
            raise SettingsError(
                f"LADING_PAYLOAD_LOG={shown(url)} is no bucket: write {known}, a folder, or otlp+http://HOST:4318"
            )
        try:
            self._store = open_bucket(url, request=REQUEST, retries=RETRIES)
        except ValueError as error:
            raise SettingsError(f"LADING_PAYLOAD_LOG: {error}") from None

    def write(self, path: PurePosixPath, content: bytes) -> None:
        try:
            self._obstore.put(self._store, str(path), content)
        except self._obstore.exceptions.BaseError as error:
            raise OSError(first_line(error)) from None

    def prune(self) -> None:
        return
