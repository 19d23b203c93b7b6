"""Which keys may sign what is used here, and until when."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from lading.errors import SettingsError
from lading.errors.sentences import shown
from lading.files import read_bounded
from lading.signing.keys import LARGEST, key_id, read_public_keys, short

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

VARIABLE = "LADING_TRUSTED_KEYS"
POLICY = "policy.txt"
"""Of a folder of keys: ``FILE expires=YYYY-MM-DD`` in each line."""
SUFFIXES = (".pub", ".pem")


@dataclass(frozen=True)
class TrustedKey:
    """A public key, and its end."""

    key: EllipticCurvePublicKey
    file: str
    expires: float = math.inf
    """Seconds since 1970; infinite if it does not expire."""

    @property
    def last_day(self) -> str:
        """The last day on which it is trusted, in UTC."""
        return (datetime.fromtimestamp(self.expires, UTC) - timedelta(days=1)).date().isoformat()


class TrustedKeys:
    """The keys of files and folders, by their ids.

    Args:
        paths: PEM files, folders of ``.pub`` and ``.pem`` files, and ``policy.txt`` files. A folder's ``policy.txt``
            is read too.

    Raises:
        SettingsError: a file cannot be used, there is no key, or a policy names a key that is not there.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        files = [file for path in paths for file in _files(path)]
        ends: dict[str, float] = {}
        for file in (file for file in files if file.name == POLICY):
            ends.update(_policy(file))
        self.keys: dict[str, TrustedKey] = {}
        named = set()
        for file in (file for file in files if file.name != POLICY):
            named.add(file.name)
            for key in read_public_keys(file):
                self.keys[key_id(key)] = TrustedKey(key, file.name, ends.get(file.name, math.inf))
        if not self.keys:
            places = os.pathsep.join(map(str, paths))
            raise SettingsError(f"{VARIABLE}={shown(places)} has no key: put .pub files of signers there")
        if unknown := sorted(ends.keys() - named):
            raise SettingsError(
                f"{POLICY} limits {shown(unknown[0])}, and no trusted key has this file name; the keys are: "
                f"{', '.join(sorted(named))}"
            )

    def ids(self) -> str:
        """The keys that have not expired, by the beginning of their ids and their files, for a sentence."""
        now = time.time()
        live = [f"{short(name)} ({key.file})" for name, key in self.keys.items() if now < key.expires]
        return ", ".join(live) or "none, because all have expired"


def trusted_paths(environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """The paths of ``LADING_TRUSTED_KEYS``; empty where nothing need be signed."""
    value = (os.environ if environ is None else environ).get(VARIABLE, "")
    return tuple(Path(part) for part in value.split(os.pathsep) if part)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    # Kubernetes keeps what it mounts in folders that begin with two dots, and links to it.
    names = (file for file in path.iterdir() if not file.name.startswith("."))
    return sorted(file for file in names if file.suffix in SUFFIXES or file.name == POLICY)


def _policy(file: Path) -> dict[str, float]:
    """The end of each key, in seconds since 1970, by its file's name."""
    try:
        lines = read_bounded(file, LARGEST).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the policy {file} cannot be read: {error}") from None
    ends = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        name, end = words[0], _end_of(words[1]) if len(words) == 2 else None
        if end is None or name in ends:
            raise SettingsError(
                f"line {number} of {file} is not FILE expires=YYYY-MM-DD, once for each file: an example is "
                "release.pub expires=2027-01-31"
            )
        ends[name] = end
    return ends


def _end_of(word: str) -> float | None:
    """The end of the day that ``expires=YYYY-MM-DD`` names, in UTC; ``None`` if the word is another."""
    try:
        after = date.fromisoformat(word.removeprefix("expires=")) + timedelta(days=1)
    except (ValueError, OverflowError):
        return None
    return datetime(after.year, after.month, after.day, tzinfo=UTC).timestamp() if word.startswith("expires=") else None
