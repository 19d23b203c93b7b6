"""Which artifacts a server may load, and what it says when it may not."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from lading.artifact import MANIFEST, Artifact
from lading.errors import ArtifactError, GateRefusedError, SettingsError, UntrustedError
from lading.settings import Settings


def accept(paths: Iterable[Path], settings: Settings) -> list[Artifact]:
    """Load artifacts, the first of which must have ``LADING_DIGEST``.

    One that no key of ``LADING_TRUSTED_KEYS`` signed is ``refused``, so that the server can say why it is not ready.

    Raises:
        ArtifactError: an artifact is incomplete or edited, has no such variant, or not the digest of LADING_DIGEST.
        GateRefusedError: the variant to serve is one that verify refused.
    """
    accepted = []
    for number, path in enumerate(paths):
        try:
            accepted.append(accept_one(path, settings, first=number == 0))
        except UntrustedError as error:
            accepted.append(Artifact.untrusted(path, error))
    return accepted


def accept_one(path: Path, settings: Settings, *, first: bool) -> Artifact:
    """Load one artifact. The first must have ``LADING_DIGEST``.

    Raises:
        ArtifactError, GateRefusedError: as :func:`accept`.
        UntrustedError: no key of ``LADING_TRUSTED_KEYS`` signed it as it is.
    """
    artifact = Artifact.load(path, settings.trusted_keys)
    if first and settings.digest and artifact.digest != settings.digest:
        raise ArtifactError(
            f"{path} has the digest {artifact.digest}, and LADING_DIGEST asks for {settings.digest}: "
            "it is another artifact than the one that was released"
        )
    packed = artifact.variant(settings.variant)
    if not packed.passed:
        reasons = "; ".join(packed.reasons) or "no reason is recorded"
        raise GateRefusedError(f"variant {packed.variant.name!r} of {path} was refused by verify: {reasons}")
    return artifact


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
        SettingsError: there is none, or no folder of models.
    """
    if settings.models is not None and not settings.models.is_dir():
        raise SettingsError(f"LADING_MODELS is {settings.models}, and there is no such folder: create it, or unset it")
    paths = [*settings.artifact, *artifact_folders(settings)]
    if not paths:
        raise SettingsError(
            "no artifact is named: set LADING_ARTIFACT, or write `lading serve artifacts/cards`"
            if settings.models is None
            else f"LADING_MODELS is {settings.models}, which has no subfolder with a {MANIFEST}: copy artifacts into it"
        )
    return paths


def artifact_folders(settings: Settings) -> list[Path]:
    """The artifacts in ``LADING_MODELS``."""
    return sorted(file.parent for file in settings.models.glob(f"*/{MANIFEST}")) if settings.models else []


def artifact_name(path: Path) -> str:
    """The name that an artifact says it has; verified only when it is loaded."""
    try:
        return str(json.loads((path / MANIFEST).read_bytes())["name"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def version_order(version: str) -> list[tuple[int, str]]:
    """A key that sorts version 10 after 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"[.\-]", version)]
