"""``lading init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(file: Annotated[Path, typer.Argument(help="file to write, for example my_model.py")]) -> None:
    """Write a model's file to begin with; it builds as it is.

    Example: `lading init my_model.py`
    """
    from lading.starter import write_starter

    target = write_starter(file)
    typer.echo(f"{file} is written; build it with\n\n  lading build {target} data.workers=0 trainer.threads=1")
