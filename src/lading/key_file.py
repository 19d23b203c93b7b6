"""Files of API keys, for servers to check and for clients to send."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from lading.errors import SettingsError


@dataclass(frozen=True)
class Key:
    """One key, and when it expires."""

    secret: bytes = field(repr=False)
    expires: float
    """Seconds since 1970; infinite if the key does not expire."""


def read_keys(file: Path) -> tuple[Key, ...]:
    """Read a file of keys.

    Each line holds one key, optionally followed by its last day (UTC): ``expires=2027-01-31``. Empty lines and lines
    that start with ``#`` are skipped.

    Raises:
        SettingsError: the file cannot be read, has no key, or has other text after a key.
    """
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise SettingsError(f"the key file {file} cannot be read: {error.strerror}") from None
    keys = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        secret, *end = line.split(maxsplit=1)
        keys.append(Key(secret, _expiry(file, number, b"".join(end).strip())))
    if not keys:
        raise SettingsError(f"the key file {file} has no key: write one per line")
    return tuple(keys)


def bearer(file: Path) -> dict[str, str]:
    """The ``authorization`` header with the first key of a file that has not expired.

    Raises:
        SettingsError: the file cannot be used, or all of its keys have expired.
    """
    for key in read_keys(file):
        if time.time() < key.expires:
            return {"authorization": f"Bearer {key.secret.decode('latin-1')}"}
    raise SettingsError(f"every key in the key file {file} has expired: add a new one")


def _expiry(file: Path, number: int, end: bytes) -> float:
    """The end of the key's last day. The error names the line only by its number: the line holds a secret."""
    if not end:
        return math.inf
    name, _, day = end.partition(b"=")
    try:
        if name != b"expires":
            raise ValueError
        after = date.fromisoformat(day.decode("ascii")) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise SettingsError(f"the key file {file}, line {number}: only expires=YYYY-MM-DD may follow a key") from None
    return datetime(after.year, after.month, after.day, tzinfo=UTC).timestamp()
