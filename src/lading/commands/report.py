"""``lading report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lading.terminal import console


def report(
    artifact: Annotated[Path, typer.Argument(help="artifact folder, for example artifacts/cards")],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write")] = Path("report.html"),
) -> None:
    """Write an artifact's measurements as one HTML page that needs no network.

    Example: `lading report artifacts/cards --out report.html`
    """
    from lading.artifact import Artifact
    from lading.report import write_artifact_report

    write_artifact_report(Artifact.load(artifact), out)
    console().print(f"report: {out}")
