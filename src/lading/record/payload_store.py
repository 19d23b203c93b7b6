"""Where the payload log's files go: a folder, a bucket, or an OTLP collector."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from lading.artifact.manifest import ModelInfo
from lading.errors import SettingsError
from lading.files import first_line, open_bucket, shown
from lading.record.batch import Batch, Sink
from lading.record.payload_columns import (
    Row,
    missing_package,
    require,
    require_pyarrow,
    schema_of,
    table_of,
    truth_table,
)
from lading.record.payload_folder import FEEDBACK, Folder, folder_name
from lading.settings.recording import RecordingSettings

if TYPE_CHECKING:
    import pyarrow as pa

OTLP = "otlp+"
BUCKETS = ("gs", "s3", "az")
REQUEST, RETRIES = timedelta(minutes=1), timedelta(minutes=1)
"""Timeout of one upload, and time in which it is tried again. The log keeps its rows and tries again after that."""


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
        # The first table imports pandas where it is installed. That takes seconds, which a stop does not have.
        self._encoded(truth_table([{"time": 0}]))

    def store(self, batch: Batch, model: ModelInfo, rows: Sequence[Row], pictures: Mapping[str, bytes]) -> None:
        folder = PurePosixPath(folder_name(model.name), folder_name(model.version), batch.day)
        table = self._encoded(table_of(rows, schema_of(model, self._settings.payload_images)))
        self._write_all(
            {**{folder / name: content for name, content in pictures.items()}, folder / _file(batch): table}
        )

    def store_truths(self, batch: Batch, rows: Sequence[Row]) -> None:
        self._write_all({PurePosixPath(FEEDBACK, batch.day, _file(batch)): self._encoded(truth_table(rows))})

    def _encoded(self, table: pa.Table) -> bytes:
        buffer = io.BytesIO()
        self._parquet.write_table(table, buffer, compression="zstd")
        return buffer.getvalue()

    def _write_all(self, files: Mapping[PurePosixPath, bytes]) -> None:
        """Write files, the one with the rows last. If one cannot be written, none of them stays."""
        self._destination.prune(sum(map(len, files.values())))
        try:
            for path, content in files.items():
                self._destination.write(path, content)
        except OSError:
            for path in files:
                self._destination.remove(path)
            raise


def _file(batch: Batch) -> str:
    return f"{batch.stem}.parquet"


_OTLP_PACKAGE = "opentelemetry.exporter.otlp.proto.http._log_exporter"
_OVER_OTLP, _IN_BUCKET = "a payload log over OTLP", "a payload log in a bucket"


def packages_of(address: str) -> list[tuple[str, SettingsError]]:
    """Packages that :func:`sink` needs for an address, in its order, each with the error that it raises without it."""
    if address.startswith(OTLP):
        return [(_OTLP_PACKAGE, missing_package(_OTLP_PACKAGE, _OVER_OTLP, extra="otel"))]
    bucket = [("obstore", missing_package("obstore", _IN_BUCKET))] if "://" in address else []
    return [*bucket, ("pyarrow", missing_package("pyarrow", "the payload log"))] if address else []


def sink(settings: RecordingSettings) -> Sink:
    """Open the destination in ``LADING_PAYLOAD_LOG``.

    Raises:
        SettingsError: it cannot be used, or a package for it is not installed.
    """
    address = settings.payload_log or ""
    if address.startswith(OTLP):
        require(_OTLP_PACKAGE, _OVER_OTLP, extra="otel")
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

    def remove(self, path: PurePosixPath) -> None:
        """Delete a file, if it is there and can be deleted."""

    def prune(self, coming: int = 0) -> None:
        """Delete the oldest files beyond the limits on age and size.

        Args:
            coming: bytes that are written next.
        """


class Bucket:
    """A prefix in a bucket of Google Cloud, S3 or Azure. Old objects are left to the bucket's lifecycle rules.

    Args:
        url: ``gs://bucket/prefix``, ``s3://bucket/prefix`` or ``az://container/prefix``.

    Raises:
        SettingsError: the address cannot be used, or obstore is not installed.
    """

    def __init__(self, url: str) -> None:
        self._obstore = require("obstore", _IN_BUCKET)
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

    def remove(self, path: PurePosixPath) -> None:
        """Leave what an upload stored: the next attempt replaces it."""

    def prune(self, coming: int = 0) -> None:
        """Do nothing."""
