"""Which artifacts a server may load, and what it says when it may not."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from lading.artifact import MANIFEST, Artifact
from lading.errors import ArtifactError, GateRefusedError, SettingsError
from lading.settings import Settings


def accept(paths: Iterable[Path], settings: Settings) -> list[Artifact]:
    """Load artifacts, the first of which must have ``LADING_DIGEST``.

    Raises:
        ArtifactError: an artifact is incomplete or edited, has no such variant, or not the digest of LADING_DIGEST.
        GateRefusedError: the variant to serve is one that verify refused.
    """
    artifacts = [Artifact.load(path) for path in paths]
    wanted = settings.digest
    if wanted and artifacts and artifacts[0].digest != wanted:
        raise ArtifactError(
            f"{artifacts[0].path} has the digest {artifacts[0].digest}, and LADING_DIGEST asks for {wanted}: "
            "it is another artifact than the one that was released"
        )
    for artifact in artifacts:
        packed = artifact.variant(settings.variant)
        if not packed.passed:
            reasons = "; ".join(packed.reasons) or "no reason is recorded"
            raise GateRefusedError(
                f"variant {packed.variant.name!r} of {artifact.path} was refused by verify: {reasons}"
            )
    return artifacts


FILE = Path("/dev/termination-log")
LARGEST = 4096
"""Bytes; Kubernetes cuts what is longer."""


def leave_message(sentence: str, file: Path = FILE, environ: Mapping[str, str] | None = None) -> None:
    """Say why this server will never be ready, in a pod; a probe that gives up on it ends it without an error."""
    if "KUBERNETES_SERVICE_HOST" in (os.environ if environ is None else environ):
        with contextlib.suppress(OSError):
            file.write_bytes(f"{sentence}\n".encode()[:LARGEST])


def named_artifacts(settings: Settings) -> list[Path]:
    """Every artifact folder that the settings name.

    Raises:
        SettingsError: there is none.
    """
    paths = [*settings.artifact, *_subfolders(settings)]
    if not paths:
        raise SettingsError(
            "no artifact is named: set LADING_ARTIFACT, or write `lading serve artifacts/cards`"
            if settings.models is None
            else f"{settings.models} has no subfolder with a {MANIFEST}"
        )
    return paths


def _subfolders(settings: Settings) -> list[Path]:
    return sorted(file.parent for file in settings.models.glob(f"*/{MANIFEST}")) if settings.models else []


def _name_of(path: Path) -> str:
    """The name that an artifact says it has; verified only when it is loaded."""
    try:
        return str(json.loads((path / MANIFEST).read_bytes())["name"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _natural(version: str) -> list[tuple[int, str]]:
    """Sorts 10 after 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"[.\-]", version)]
