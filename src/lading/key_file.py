"""Files of API keys, for servers to check and for clients to send."""

from __future__ import annotations

import codecs
import math
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from lading.errors import SettingsError
from lading.files import read_bounded

LARGEST = 1_000_000
"""Maximum bytes of a file of keys."""
CLASSES = frozenset({"infer", "feedback"})
"""What a key may be limited to, with ``may=``."""
_SHOWN_FAULTS = 3
_UNSENDABLE = frozenset(range(0x20)) | {0x7F}
_WANTED = "only expires=YYYY-MM-DD and may=infer or may=feedback may follow a key"


@dataclass(frozen=True)
class Key:
    """One key, when it expires, and what it is for."""

    secret: bytes = field(repr=False)
    expires: float = math.inf
    """Seconds since 1970; infinite if the key does not expire."""
    may: frozenset[str] | None = None
    """Those of :data:`CLASSES` that it is limited to; ``None`` if it is not limited."""


@dataclass(frozen=True)
class KeyFile:
    """The keys of a file, and what is wrong with its other lines."""

    keys: tuple[Key, ...]
    faults: tuple[str, ...] = ()
    """A sentence for each line that holds no key and no comment. It names the line by its number, because the line may
    hold a secret."""

    def without_keys(self, file: Path) -> str:
        """Why a file without a key cannot be used."""
        return self.faulty(file) or f"the key file {file} has no key: write one per line"

    def faulty(self, file: Path) -> str:
        """All faults as one short text; empty if there is none."""
        more = len(self.faults) - _SHOWN_FAULTS
        shown = "; ".join(self.faults[:_SHOWN_FAULTS]) + (f"; and {more} more lines" if more > 0 else "")
        return f"the key file {file}, {shown}" if shown else ""


def key_file_bytes(file: Path) -> bytes:
    """Read a server's file of keys. A pipe is refused, because reading it again would wait.

    Raises:
        SettingsError: the file cannot be read.
    """
    try:
        return read_bounded(file, LARGEST)
    except OSError as error:
        raise _unreadable(file, error) from None


def parse_keys(content: bytes) -> KeyFile:
    """Parse a file of keys.

    Each line holds one key, optionally followed by its last day (UTC) and by what it is limited to:
    ``expires=2027-01-31 may=feedback``. Empty lines and lines that start with ``#`` are skipped. A line that cannot be
    understood is a fault, and the other lines count.

    Args:
        content: what the file holds.
    """
    keys, faults = [], []
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        try:
            keys.append(_key(line))
        except ValueError as error:
            faults.append(f"line {number}: {error}")
    return KeyFile(tuple(keys), tuple(faults))


def read_keys(file: Path) -> tuple[Key, ...]:
    """Return the keys of a client's file. It may be a pipe.

    Raises:
        SettingsError: the file cannot be read, or no line of it is a key.
    """
    try:
        read = parse_keys(file.read_bytes())
    except OSError as error:
        raise _unreadable(file, error) from None
    if not read.keys:
        raise SettingsError(read.without_keys(file))
    return read.keys


def bearer(file: Path) -> dict[str, str]:
    """The ``authorization`` header with the first key of a file that has not expired and may be used for inference.

    Raises:
        SettingsError: the file cannot be used, or has no such key.
    """
    keys = [key for key in read_keys(file) if key.may is None or "infer" in key.may]
    for key in keys:
        if time.time() < key.expires:
            return {"authorization": f"Bearer {key.secret.decode('latin-1')}"}
    if keys:
        raise SettingsError(f"every key in the key file {file} has expired: add a new one")
    raise SettingsError(f"no key in the key file {file} may be used for inference: add one without may=feedback")


def _unreadable(file: Path, error: OSError) -> SettingsError:
    return SettingsError(f"the key file {file} cannot be read: {error.strerror}")


def _key(line: bytes) -> Key:
    """Raises ValueError with a sentence that does not show the line."""
    secret, *attributes = line.split()
    if not _UNSENDABLE.isdisjoint(secret):
        raise ValueError("it has a control character: write the keys as UTF-8 text, one per line")
    found: dict[str, str] = {}
    for attribute in attributes:
        name, _, value = attribute.decode("latin-1").partition("=")
        if name not in ("expires", "may") or name in found:
            raise ValueError(_WANTED)
        found[name] = value
    may = frozenset(found["may"].split(",")) if "may" in found else None
    if may is not None and not may <= CLASSES:
        raise ValueError(_WANTED)
    return Key(secret, _end_of(found["expires"]) if "expires" in found else math.inf, may)


def _end_of(day: str) -> float:
    """The end of a day, in seconds since 1970."""
    try:
        after = date.fromisoformat(day) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise ValueError(_WANTED) from None
    return datetime(after.year, after.month, after.day, tzinfo=UTC).timestamp()
