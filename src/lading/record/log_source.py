"""Reads the files of a payload log, from a folder or a bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from lading.errors import DataError
from lading.files import first_line, open_bucket, shown
from lading.record.payload_columns import require
from lading.record.payload_folder import FEEDBACK, folder_name
from lading.record.payload_store import BUCKETS

DAY = "date="
"""Start of the name of a folder with the files of one day."""
_DEEPEST = 3
"""Folders below a model's: the version, and the day in it."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of rows."""

    path: str
    """Path in the log."""
    modified: float
    """Time at which it was written, in seconds since the epoch. Its rows are older."""

    @property
    def day(self) -> str:
        """Name of the day's folder; empty if it is in none."""
        name = self.path.rpartition("/")[0].rpartition("/")[2]
        return name if name.startswith(DAY) else ""


class LogSource(Protocol):
    """A place with the files of a payload log."""

    def entries(self, folder: str) -> tuple[Sequence[LogFile], Sequence[str]]:
        """The files of rows in a folder, and the paths of the folders in it. Nothing if there is no such folder.

        Raises:
            DataError: the place cannot be read.
        """

    def read(self, path: str) -> bytes:
        """A file's content.

        Raises:
            DataError: it cannot be read.
        """


class FolderSource:
    """A payload log on a disk.

    Args:
        root: the folder that ``LADING_PAYLOAD_LOG`` names.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def entries(self, folder: str) -> tuple[Sequence[LogFile], Sequence[str]]:
        if not self._root.is_dir():
            raise DataError(f"{self._root} is no folder: name the one that LADING_PAYLOAD_LOG names")
        files, folders = [], []
        try:
            for entry in sorted((self._root / folder).iterdir()):
                path = entry.relative_to(self._root).as_posix()
                if entry.is_dir():
                    folders.append(path)
                elif _has_rows(path):
                    with suppress(FileNotFoundError):  # deleted by a server that keeps within its limits
                        files.append(LogFile(path, entry.stat().st_mtime))
        except FileNotFoundError:  # the folder is not there yet
            pass
        except OSError as error:
            raise DataError(f"{self._root / folder} cannot be read: {error.strerror}") from None
        return files, folders

    def read(self, path: str) -> bytes:
        try:
            return (self._root / path).read_bytes()
        except OSError as error:
            raise DataError(f"{self._root / path} cannot be read: {error.strerror}") from None


class BucketSource:
    """A payload log in a bucket.

    Args:
        url: ``gs://bucket/prefix``, ``s3://bucket/prefix`` or ``az://container/prefix``.

    Raises:
        DataError: the address cannot be used.
        SettingsError: obstore is not installed.
    """

    def __init__(self, url: str) -> None:
        self._obstore = require("obstore", "a payload log in a bucket")
        self._shown = shown(url)
        if urlsplit(url).scheme not in BUCKETS:
            known = ", ".join(f"{scheme}://NAME" for scheme in BUCKETS)
            raise DataError(f"{self._shown} is no payload log that can be read: name a folder, or {known}")
        try:
            self._store = open_bucket(url, request=timedelta(minutes=1), retries=timedelta(seconds=30))
        except ValueError as error:
            raise DataError(str(error)) from None

    def __str__(self) -> str:
        return self._shown

    def entries(self, folder: str) -> tuple[Sequence[LogFile], Sequence[str]]:
        try:
            found = self._obstore.list_with_delimiter(self._store, f"{folder}/" if folder else None)
        except self._obstore.exceptions.BaseError as error:
            raise DataError(f"{self._shown} cannot be read: {first_line(error)}") from None
        files = [
            LogFile(one["path"], one["last_modified"].timestamp()) for one in found["objects"] if _has_rows(one["path"])
        ]
        return files, [prefix.rstrip("/") for prefix in found["common_prefixes"]]

    def read(self, path: str) -> bytes:
        try:
            return bytes(self._obstore.get(self._store, path).bytes())
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise DataError(f"{self._shown}/{path} cannot be read: {first_line(error)}") from None


def _has_rows(path: str) -> bool:
    return path.endswith(".parquet") and not path.rpartition("/")[2].startswith(".")


def log_source(address: str | Path) -> LogSource:
    """The payload log at an address: a folder or a bucket.

    Raises:
        DataError: the address cannot be used.
        SettingsError: a package for it is not installed.
    """
    return BucketSource(str(address)) if "://" in str(address) else FolderSource(Path(address))


def files_of_model(source: LogSource, model: str, since: str = "") -> list[LogFile]:
    """The files with rows of one model, the newest first.

    Args:
        source: the whole log, or the folder of one model in it.
        model: name of the model.
        since: name of a day's folder. Earlier days are left out.

    Raises:
        DataError: the log cannot be read.
    """
    name = folder_name(model)
    found = list(_below(source, name if name in source.entries("")[1] else "", since, _DEEPEST))
    return sorted(found, key=_age)


def files_of_feedback(source: LogSource, since: str = "") -> list[LogFile]:
    """The files of truths, the newest first. Arguments and errors are those of :func:`files_of_model`."""
    return sorted(_below(source, FEEDBACK, since, 1), key=_age)


def _age(file: LogFile) -> tuple[float, str]:
    return -file.modified, file.path


def _below(source: LogSource, folder: str, since: str, depth: int) -> Iterator[LogFile]:
    files, folders = source.entries(folder)
    yield from files
    for below in folders:
        name = below.rpartition("/")[2]
        # A day's folder holds files of rows, and maybe a folder of pictures.
        if depth and name >= since if name.startswith(DAY) else depth and below != FEEDBACK:
            yield from _below(source, below, since, 0 if name.startswith(DAY) else depth - 1)
