"""Atomic writes of files and folders, and buckets (whose own writes are atomic).

A reader finds the old content or the new one, never half of it, even after a crash. On a disk, the content goes to a
temporary name in the same folder, is flushed, and is renamed; then the folder is flushed, because only that makes the
rename last. If anything fails, the old content stays and the new one is removed.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lading.errors import OccupiedError

MARK = ".lading"

if TYPE_CHECKING:
    from obstore.store import ObjectStore


try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]


def lock_file(descriptor: int) -> None:
    """Lock an open file for this process. The kernel releases it when the file is closed, or the process ends.

    Raises:
        BlockingIOError: another process has it.
        OSError: the system or the file system has no such locks.
    """
    if fcntl is None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def open_flags(*names: str) -> int:
    """Flags of ``os.open``; those that the system does not have are left out."""
    return sum(getattr(os, name, 0) for name in (*names, "O_BINARY"))


def read_bounded(path: Path, most: int) -> bytes:
    """Read a regular file of at most ``most`` bytes. A pipe or a device is refused at once; reading it could wait.

    Raises:
        OSError: the file cannot be read, is not a regular file, or is larger.
    """
    descriptor = os.open(path, open_flags("O_RDONLY", "O_NONBLOCK", "O_CLOEXEC"))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        content = bytearray()
        while len(content) <= most and (chunk := os.read(descriptor, most + 1 - len(content))):
            content += chunk
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", str(path))
    return bytes(content)


def write_atomically(path: Path, content: bytes | str | Callable[[Path], object]) -> None:
    """Create or replace a file. Its folder is made if it is missing.

    Args:
        path: the file.
        content: bytes, text (written as UTF-8), or a function that writes a file at the path it is given.

    Raises:
        OSError: the file cannot be written. Errors of ``content`` pass through.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _unused(path)
    try:
        if callable(content):
            content(unfinished)
        else:
            unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
        _flush(unfinished)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _flush(path.parent)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes the place of ``path`` when the block ends without an error.

    Raises:
        OSError: ``path`` is a file, or the folder cannot be made or moved. Errors in the block pass through.
    """
    path = path.resolve()
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield unfinished
        unfinished.chmod(0o755)  # mkdtemp lets only the owner in
        for entry in (*unfinished.rglob("*"), unfinished):
            _flush(entry)
        _swap(unfinished, path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _flush(path.parent)


def check_own(folder: Path, own: Collection[str]) -> None:
    """Refuse to replace a folder that holds anything but these files. One that is empty or missing is fine.

    Args:
        folder: what would be replaced.
        own: paths in it, with slashes, that may be lost because Lading wrote them.

    Raises:
        OccupiedError: it holds something else.
    """
    if not folder.is_dir():
        return
    parents = {parent.as_posix() for name in own for parent in PurePosixPath(name).parents}
    written = (path for path in folder.rglob("*") if path.name != ".DS_Store")  # by macOS, for whoever looks into it
    held = sorted(path.relative_to(folder).as_posix() for path in written)
    others = [name for name in held if name not in own and name not in parents]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise OccupiedError(
            f"{folder} would be replaced, and holds what Lading did not write: {', '.join(others[:3])}{more}. "
            "Give another folder, or move them away."
        )


def claim(folder: Path, names: Iterable[str], known_by: str) -> None:
    """Make a folder to write files of these names into; refuse where one is there that an earlier run did not write.

    Args:
        folder: the folder; other files in it stay.
        names: the files.
        known_by: a file that a run leaves, with :func:`finish`. One that was interrupted before leaves only a mark.

    Raises:
        OccupiedError: a file of one of the names is there, and is not Lading's.
        OSError: the folder cannot be made.
    """
    mark = folder / MARK
    if not (mark.exists() or (folder / known_by).exists()):
        taken = [name for name in names if (folder / name).exists()]
        if taken:
            check_unused(folder / taken[0])
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()


def check_unused(file: Path) -> None:
    """Refuse to write a file whose name is taken by one that Lading did not write.

    Raises:
        OccupiedError: it is there.
    """
    if file.exists():
        raise OccupiedError(f"{file} is there, and Lading did not write it: give another folder, or move it away")


def finish(folder: Path) -> None:
    """Remove the mark of :func:`claim`: the file that the folder is known by is there."""
    (folder / MARK).unlink(missing_ok=True)


def open_bucket(url: str, *, request: timedelta, retries: timedelta) -> ObjectStore:
    """Open a bucket, or a prefix in it, with obstore. Nothing is requested yet.

    Credentials come from the environment or from the identity of the workload, as for the cloud's own clients.

    Args:
        url: ``gs://bucket/prefix``, ``s3://bucket/prefix``, ``az://container/prefix`` or ``https://host/path``.
        request: timeout of one request.
        retries: time in which a request is tried again, at most five times.

    Raises:
        ImportError: obstore is not installed.
        ValueError: the URL is incomplete or unknown, or it contains a key. The message contains no key.
    """
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(f"{shown(url)} names no bucket or host")
    if parts.query or parts.username:
        raise ValueError(f"{shown(url)}: a key does not belong in the address; set it in the environment")
    # Plain HTTP is used only where the URL or a variable such as AWS_ENDPOINT_URL names it.
    client = {"allow_http": True, "timeout": request}
    retry = {"max_retries": 5, "retry_timeout": retries}
    try:
        # Its overloads expect one scheme each.
        store: ObjectStore = from_url(url.rstrip("/"), client_options=client, retry_config=retry)  # type: ignore[call-overload]
    except BaseError as error:
        raise ValueError(f"{shown(url)} cannot be opened: {first_line(error)}") from None
    return store


def shown(url: str) -> str:
    """A URL without the parts that may be secret: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.scheme else url


def first_line(error: Exception) -> str:
    """The first line of an error's message. obstore appends a dump of its internals."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _swap(new: Path, path: Path) -> None:
    """Move a folder to ``path``. A rename cannot replace a folder that has files, so the old one is renamed first."""
    old = _unused(path)
    with suppress(FileNotFoundError):
        path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        if old.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _unused(path: Path) -> Path:
    """An unused hidden name in the same folder: a rename is atomic only within one file system."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folder
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)
