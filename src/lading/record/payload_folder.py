"""The payload log's folder on a local disk: whole files, and no file deleted that is not the log's own."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from lading.errors import SettingsError
from lading.errors.sentences import shown
from lading.files import lock_file, open_flags, read_bounded, write_atomically

MARKER = "lading-payload-log.json"
"""A file in the root. It says that the folder is a payload log, and with which layout."""
LAYOUT = 1
FEEDBACK = "feedback"
"""The folder of the truths, next to those of the models."""
_LONGEST_NAME = 100
_STALE_S = 3600.0
"""Age of an unfinished file that no process writes any more, where the file system has no locks."""

_ROWS = r"\d{6}-[^/]+-\d+-\d+\.parquet"
_ENCODED = r"[0-9a-f]{32}-[A-Za-z_][A-Za-z0-9_.-]*-\d+\.[a-z0-9]+"
_DATE = r"date=\d{4}-\d\d-\d\d"
_MODEL = r"(?!\.)[^/]+/(?!\.)[^/]+"


def _finished_or_not(name: str) -> str:
    return rf"(?:{name}|\.{name}\.[0-9a-f]{{8}})"


_OWN_FILE = re.compile(
    rf"(?:{FEEDBACK}|{_MODEL})/{_DATE}/{_finished_or_not(_ROWS)}"
    rf"|{_MODEL}/{_DATE}/(?!\.)[^/]+/{_finished_or_not(_ENCODED)}"
    rf"|\.{re.escape(MARKER)}\.[0-9a-f]{{8}}",
)
_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}")
_OWN_FOLDER = re.compile(rf"(?!\.)[^/]+(?:/{_DATE}|/(?!\.)[^/]+(?:/{_DATE}(?:/(?!\.)[^/]+)?)?)?")
_DATED = re.compile(rf".+/{_DATE}")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_OF_THE_FILE_SYSTEM = frozenset({"lost+found"})


def folder_name(text: str) -> str:
    """A name of a model or a version as the name of one folder. It cannot lead to another folder.

    Letters, digits, ``-``, ``_`` and ``.`` stay. Others are percent-encoded, and so is the first character of ``.``,
    ``..``, hidden names and ``feedback``. Long names end with a part of their SHA-256.
    """
    name = quote(text, safe="", errors="surrogatepass")
    if not name or name.startswith(".") or name.lower() == FEEDBACK:
        name = f"%{ord(name[0]):02X}{name[1:]}" if name else "%"
    if len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
        name = f"{name[: _LONGEST_NAME - 17]}-{digest}"
    return name


class Folder:
    """A folder on a local disk. Several servers may share it.

    Args:
        root: the folder; created if it is missing.
        most_bytes: maximum size of the log's files together.
        keep_s: maximum age of a file, in seconds.

    Raises:
        SettingsError: the folder cannot be created or written, holds files that are not of a payload log, or has a
            newer layout.
    """

    def __init__(self, root: Path, *, most_bytes: float, keep_s: float) -> None:
        self._root, self._most_bytes, self._keep_s = root, most_bytes, keep_s
        try:
            root.mkdir(parents=True, exist_ok=True)
            if (root / MARKER).exists():
                self._check_marker()
                self._check_writable()
            else:
                self._adopt()
                self._write_making_room(root / MARKER, json.dumps({"layout": LAYOUT}).encode())
        except OSError as error:
            raise SettingsError(f"LADING_PAYLOAD_LOG={root} cannot be written: {error.strerror}") from None

    def write(self, path: PurePosixPath, content: bytes) -> None:
        """Store a file completely or not at all. On a full disk, the oldest files of the log are deleted first.

        Raises:
            OSError: the file was not stored.
        """
        self._write_making_room(self._root / path, content)

    def remove(self, path: PurePosixPath) -> None:
        """Delete a file that was written before, if it is there."""
        with suppress(OSError):
            (self._root / path).unlink(missing_ok=True)

    def prune(self, coming: int = 0) -> None:
        """Delete the oldest files beyond the limits on age and size, and unfinished files that no process writes.

        Args:
            coming: bytes that are written next.
        """
        files = self._own_files()
        total = coming + sum(status.st_size for status, _ in files)
        oldest = time.time() - self._keep_s
        for status, file in files:
            if total <= self._most_bytes and status.st_mtime >= oldest:
                break
            total -= _unlinked(status, file)

    def _check_marker(self) -> None:
        marker = self._root / MARKER
        try:
            content = json.loads(read_bounded(marker, 10_000))
            layout = content["layout"]
        except (ValueError, LookupError, TypeError, OSError):
            raise SettingsError(
                f"LADING_PAYLOAD_LOG: {marker} cannot be read: delete it if the folder holds a payload log and no "
                "other files"
            ) from None
        if layout != LAYOUT:
            raise SettingsError(
                f"LADING_PAYLOAD_LOG: {marker} has layout {shown(layout)}, and this version of Lading writes {LAYOUT}: "
                "name another folder"
            )

    def _check_writable(self) -> None:
        probe = self._root / f".{MARKER}.{secrets.token_hex(4)}"
        try:
            probe.touch(exist_ok=False)
            probe.unlink()
        except OSError as error:
            if error.errno not in _FULL:  # a write deletes old files first
                raise

    def _adopt(self) -> None:
        """Accept a folder without a marker if it is empty, or holds a payload log and nothing else."""
        first, dated = None, False
        for path, _, own in _walk(self._root, ()):
            if path in _OF_THE_FILE_SYSTEM or (own and path.startswith(".")):
                continue
            if not own:
                raise self._foreign(path)
            first = first or path
            dated = dated or _DATED.match(path) is not None
        if first is not None and not dated:
            raise self._foreign(first)

    def _foreign(self, path: str) -> SettingsError:
        return SettingsError(
            f"LADING_PAYLOAD_LOG={self._root} is not empty and no payload log (it holds {shown(path)}): the server "
            "deletes old files of its log, so name a folder of its own"
        )

    def _write_making_room(self, target: Path, content: bytes) -> None:
        try:
            _write(target, content)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            wanted = 2 * len(content) + 65_536
            for status, file in self._own_files():
                if wanted <= 0:
                    break
                wanted -= _unlinked(status, file)
            _write(target, content)

    def _own_files(self) -> list[tuple[os.stat_result, str]]:
        """The log's finished files, oldest first. Unfinished files of processes that have ended are deleted."""
        found = []
        for path, entry, own in _walk(self._root, ()):
            if not own or entry.is_dir(follow_symlinks=False):
                continue
            with suppress(OSError):  # another server's pruning may be faster
                if _UNFINISHED.fullmatch(entry.name):
                    _delete_if_abandoned(entry.path)
                elif path != MARKER:
                    found.append((entry.stat(follow_symlinks=False), entry.path))
        return sorted(found, key=lambda one: (one[0].st_mtime_ns, one[1]))


def _walk(folder: Path | str, above: tuple[str, ...]) -> Iterator[tuple[str, os.DirEntry[str], bool]]:
    """Yield each entry with its path in the root, and whether it is the log's own. Other folders are not entered."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = "/".join((*above, entry.name))
        if entry.is_dir(follow_symlinks=False):
            own = _OWN_FOLDER.fullmatch(path) is not None and path not in _OF_THE_FILE_SYSTEM
            yield path, entry, own
            if own:
                with suppress(FileNotFoundError, PermissionError):
                    yield from _walk(entry.path, (*above, entry.name))
        else:
            yield path, entry, entry.is_file(follow_symlinks=False) and _OWN_FILE.fullmatch(path) is not None


def _write(target: Path, content: bytes) -> None:
    """As :func:`lading.files.write_atomically`, with a lock on the unfinished file: the kernel releases it when the
    process ends, in whatever way, and so another process can tell that the file is abandoned."""
    with ExitStack() as until_renamed:

        def locked(unfinished: Path) -> None:
            file = until_renamed.enter_context(unfinished.open("xb", buffering=0))
            with suppress(OSError):  # without locks, its age decides
                lock_file(file.fileno())
            left = memoryview(content)
            while left:
                left = left[file.write(left) or 0 :]

        write_atomically(target, locked)


def _delete_if_abandoned(path: str) -> None:
    descriptor = os.open(path, open_flags("O_RDWR", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))
    try:
        try:
            lock_file(descriptor)
        except BlockingIOError:
            return
        except OSError:
            if time.time() - os.fstat(descriptor).st_mtime < _STALE_S:
                return
        Path(path).unlink()
    finally:
        os.close(descriptor)


def _unlinked(status: os.stat_result, file: str) -> int:
    """Delete a file and return the bytes that it took."""
    with suppress(FileNotFoundError):
        Path(file).unlink()
    return status.st_size
