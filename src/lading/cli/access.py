"""Options of the commands that ask a running server: its key and its certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Key = Annotated[
    Path | None,
    typer.Option("--key", envvar="LADING_API_KEYS", help="file of API keys; the first that has not expired is sent"),
]
Ca = Annotated[Path | None, typer.Option("--ca", envvar="LADING_TLS_CERTIFICATE", help="certificate to trust over TLS")]
