"""``lading inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lading.terminal import console


def inspect(artifact: Annotated[Path, typer.Argument(help="artifact folder, for example artifacts/cards")]) -> None:
    """Verify an artifact's checksums and show what is in it.

    Example: `lading inspect artifacts/cards`
    """
    from lading.artifact import Artifact
    from lading.inspect_artifact import describe

    console().print(describe(Artifact.load(artifact)))
