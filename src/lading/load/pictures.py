"""Pictures to send instead of drawn ones."""

from __future__ import annotations

from pathlib import Path

from lading.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MOST = 64


def read_pictures(where: str) -> list[bytes]:
    """The bytes of one picture, or of the first :data:`MOST` of a folder; none when ``where`` is empty.

    Raises:
        DataError: nothing is there, or no picture.
    """
    if not where:
        return []
    path = Path(where)
    files = [path] if path.is_file() else sorted(file for file in path.glob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"{where} is neither a picture nor a folder with {', '.join(SUFFIXES)} files")
    return [file.read_bytes() for file in files[:MOST]]
