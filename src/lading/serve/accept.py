"""Which artifacts a server may serve: whole, of the digest that was asked for, and not refused by their own gates."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lading.artifact import Artifact
from lading.errors import ArtifactError, GateRefusedError
from lading.settings import Settings


def accept(paths: Iterable[Path], settings: Settings) -> list[Artifact]:
    """Load artifacts, the first of which must have ``LADING_DIGEST``.

    Raises:
        ArtifactError: an artifact is torn or edited, has no such variant, or is another one than was asked for.
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
