"""Where the payload log's files go: a folder, a bucket, or an OTLP collector."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from lading.errors import SettingsError
from lading.files import write_atomically
from lading.manifest import ModelInfo
from lading.record.otlp import OtlpLogs
from lading.record.payload_columns import Row, require, require_pyarrow, schema_of, table_of, truth_table
from lading.settings import RecordingSettings

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
    """``NAME/VERSION/date=YYYY-MM-DD/*.parquet``, and encoded files in a folder beside them, such as ``pictures``.

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


class Destination(Protocol):
    """Takes whole files."""

    def write(self, path: PurePosixPath, content: bytes) -> None:
        """Store a file so that it is either all there or not at all, and survives a crash once this returns.

        Raises:
            OSError: it could not be stored.
        """

    def prune(self) -> None:
        """Remove what is too old or too much."""


class Folder:
    """A folder on a local disk.

    Args:
        root: made when it is missing.
        most_bytes: that all files may take together.
        keep_s: seconds that a file is kept.

    Raises:
        SettingsError: the folder cannot be made or written.
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
    """Anything that fsspec writes to: ``gs://``, ``s3://``, ``memory://``. What is too old is for the bucket's rules.

    Args:
        url: with the scheme.

    Raises:
        SettingsError: the scheme is unknown, or its package is missing.
    """

    def __init__(self, url: str) -> None:
        fsspec = require("fsspec", "a payload log in a bucket")
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise SettingsError(f"LADING_PAYLOAD_LOG={url} cannot be used: {error}") from None
        self._root = str(root).rstrip("/")

    def write(self, path: PurePosixPath, content: bytes) -> None:
        self._files.pipe_file(f"{self._root}/{path}", content)

    def prune(self) -> None:
        return
