"""``lading serve``."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated

import typer


def serve(
    artifact: Annotated[list[Path] | None, typer.Argument(help="artifact folders; the first is the default")] = None,
    host: Annotated[str | None, typer.Option(help="address to listen on; LADING_HTTP_HOST")] = None,
    port: Annotated[str | None, typer.Option(help="HTTP port, or off; LADING_HTTP_PORT, 8080")] = None,
    grpc_port: Annotated[str | None, typer.Option(help="gRPC port, or off; LADING_GRPC_PORT, 9000")] = None,
    models: Annotated[Path | None, typer.Option(help="folder of artifacts; LADING_MODELS")] = None,
    variant: Annotated[str | None, typer.Option(help="variant to serve; default: the one that verify chose")] = None,
) -> None:
    """Serve artifacts without BentoML in front: HTTP and gRPC.

    Example: `lading serve artifacts/cards --port 8080`
    """
    # What is imported stays: looking through it for garbage takes a tenth of the start. On again once all is loaded.
    gc.disable()
    from lading.serve.server import serve as run
    from lading.settings import Settings

    given: dict[str, object] = {
        "artifact": tuple(artifact or ()),
        "http_host": host,
        "http_port": port,
        "grpc_port": grpc_port,
    }
    given |= {"models": models, "variant": variant}
    run(Settings(**{key: value for key, value in given.items() if value}))  # type: ignore[arg-type]
