"""What weights, graphs and measurements were made of, as named facts, and what has changed since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lading.build.fingerprint import Fingerprint
from lading.build.own_source import source_digests
from lading.spec import Evaluated

Facts = Mapping[str, Any]
"""Values by name: numbers and texts as they are, digests of files as ``sha256:...``, data as a fingerprint."""
DIGEST = "sha256:"
DATA = " split"
"""End of the name of a fact about data."""
SHOWN = 5
"""Changes that a sentence names."""


def differences(before: Facts, now: Facts) -> list[str]:
    """What has changed, one entry a fact, such as ``optimizer.lr 0.01 -> 0.02``; empty if nothing has."""
    found = (_difference(name, before, now) for name in dict.fromkeys((*now, *before)))
    return [entry for entry in found if entry]


def listed(changes: Iterable[str]) -> str:
    """Changes as one sentence, the first few by name."""
    changes = list(changes)
    more = len(changes) - SHOWN
    return "; ".join(changes[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def source_facts(spec: Evaluated) -> dict[str, Any]:
    """The class of a model and the digest of each of its source files."""
    files = {name: f"{DIGEST}{digest}" for name, digest in source_digests(spec).items()}
    return {"class": type(spec).__name__, **(files or {"source": None})}


def data_facts(fingerprints: Mapping[str, Fingerprint]) -> dict[str, Any]:
    """The fingerprint of each split, by the name of the split."""
    return {f"{split}{DATA}": one.model_dump(mode="json", exclude_defaults=True) for split, one in fingerprints.items()}


def digest_of(file: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with file.open("rb") as opened:
        return DIGEST + hashlib.file_digest(opened, "sha256").hexdigest()


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted names."""
    found: dict[str, Any] = {}
    for name, entry in value.items():
        if isinstance(entry, Mapping):
            found |= flat(entry, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = entry
    return found


def _difference(name: str, before: Facts, now: Facts) -> str | None:
    old, new = before.get(name), now.get(name)
    if name not in before:
        return f"{name} was not there, or not recorded" if _is_long(new) else f"{name} (not recorded) -> {_shown(new)}"
    if name not in now:
        return f"{name} is gone" if _is_long(old) else f"{name} {_shown(old)} -> (none)"
    if name == "source" and old is None and new is None:
        return "the source cannot be compared (the class is in no file)"
    if name.endswith(DATA) and isinstance(old, Mapping) and isinstance(new, Mapping):
        change = Fingerprint.model_validate(new).change_from(Fingerprint.model_validate(old))
        return f"{name} {change}" if change else None
    if old == new:
        return None
    return f"{name} has changed" if _is_long(old) and _is_long(new) else f"{name} {_shown(old)} -> {_shown(new)}"


def _is_long(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, str) and value.startswith(DIGEST))


def _shown(value: Any) -> str:
    if isinstance(value, str) and value.startswith(DIGEST):
        return value[len(DIGEST) :][:12]
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
