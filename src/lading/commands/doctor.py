"""``lading doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lading.terminal import console


def doctor(
    artifact: Annotated[list[Path] | None, typer.Argument(help="artifact folders; default: LADING_ARTIFACT")] = None,
) -> None:
    """Check that this machine can serve: packages, CPU, limits, ports, and the artifact's golden answers.

    Example: `lading doctor artifacts/cards`
    """
    from lading.doctor import checks_table, examine
    from lading.settings import Settings

    settings = Settings()
    checks = examine(tuple(artifact or settings.artifact), settings)
    console().print(checks_table(checks))
    if any(check.state == "failed" for check in checks):
        raise typer.Exit(1)
