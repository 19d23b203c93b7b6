"""Write files and folders so that a reader, or a crash, never finds half of one.

The content is written beside its target, flushed to the disk, and renamed. A rename lasts once the folder that holds
the name has been flushed too. If anything fails, the old content stays and the new is removed.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_atomically(path: Path, content: bytes | str | Callable[[Path], object]) -> None:
    """Create or replace a file. Its folder is made if it is missing.

    Args:
        path: the file.
        content: bytes, text (written as UTF-8), or a function that writes a file at the path it is given.

    Raises:
        OSError: the file cannot be written. Errors of ``content`` pass through.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _beside(path)
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


def _swap(new: Path, path: Path) -> None:
    """Move a folder to ``path``. A rename cannot replace a folder that has files, so the old one steps aside first."""
    old = _beside(path)
    with suppress(FileNotFoundError):
        path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        if old.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path) -> Path:
    """An unused hidden name in the same folder: a rename is atomic only within one file system."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)
