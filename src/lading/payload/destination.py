"""Where the files of a payload log go: a folder of this machine, or a bucket."""

from __future__ import annotations

import os
import time
from pathlib import Path, PurePosixPath
from typing import Protocol

from lading.errors import SettingsError
from lading.payload.require import require


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
        final = self._root / path
        final.parent.mkdir(parents=True, exist_ok=True)
        part = final.with_name(f".{final.name}.part")
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(final)
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

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
