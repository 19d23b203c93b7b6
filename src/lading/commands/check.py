"""``lading check``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from lading.terminal import console


def check(
    artifact: Annotated[Path, typer.Argument(help="artifact folder, for example artifacts/cards")],
    url: Annotated[str, typer.Option(help="address of the HTTP port")] = "http://127.0.0.1:8080",
    grpc: Annotated[str, typer.Option(help="address of the gRPC port, or off")] = "127.0.0.1:9000",
    key: Annotated[Path | None, typer.Option(help="file with a key on its first line; LADING_API_KEYS")] = None,
    ca: Annotated[Path | None, typer.Option(help="certificate to trust over TLS; LADING_TLS_CERTIFICATE")] = None,
) -> None:
    """Send a running server the artifact's golden requests, over REST and gRPC, and compare the answers.

    Example: `lading check artifacts/cards --url http://127.0.0.1:8080 --grpc 127.0.0.1:9000`
    """
    from lading.artifact import Artifact
    from lading.check import check_server

    keys, trusted = os.environ.get("LADING_API_KEYS"), os.environ.get("LADING_TLS_CERTIFICATE")
    for line in check_server(
        Artifact.load(artifact),
        url,
        None if grpc == "off" else grpc,
        key=key or (Path(keys) if keys else None),
        ca=ca or (Path(trusted) if trusted else None),
    ):
        console().print(line, highlight=False)
