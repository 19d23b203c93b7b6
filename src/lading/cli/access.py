"""Options of the commands that send requests to a server: key and certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Key = Annotated[
    Path | None,
    typer.Option("--key", envvar="LADING_API_KEYS", help="file of API keys; the first that has not expired is sent"),
]
Ca = Annotated[Path | None, typer.Option("--ca", envvar="LADING_TLS_CERTIFICATE", help="certificate to trust over TLS")]
