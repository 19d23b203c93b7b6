"""``lading fetch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lading.terminal import console


def fetch(
    uri: Annotated[str, typer.Argument(help="gs://, s3://, az://, https:// or a folder; oci://REGISTRY/NAME:TAG")],
    digest: Annotated[str, typer.Option(help="what it must be, sha256:..., as `lading inspect` shows it")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to make")],
) -> None:
    """Copy an artifact here, whole and of that digest, or not at all.

    Example: `lading fetch gs://models/cards --digest sha256:... --out artifacts/cards`
    """
    from lading.fetch import fetch as run

    artifact = run(uri, digest, out)
    console().print(f"artifact: {artifact.path} ({artifact.digest[:19]}), serving {artifact.manifest.chosen}")
