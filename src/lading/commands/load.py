"""``lading load``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from lading.load.kinds import KINDS, Kind
from lading.load.shapes import Shape


def load(
    artifact: Annotated[
        Path | None, typer.Argument(help="artifact folder, whose recorded requests are sent; default: ask the server")
    ] = None,
    url: Annotated[str, typer.Option(envvar="LADING_URL", help="address of the HTTP port")] = "http://127.0.0.1:8080",
    grpc: Annotated[
        str, typer.Option(envvar="LADING_GRPC", help="address of the gRPC port, or off")
    ] = "127.0.0.1:9000",
    users: Annotated[str, typer.Option(help=f"kinds of users: {', '.join(KINDS)}")] = ",".join(KINDS),
    shape: Annotated[Shape, typer.Option(help="how the rate changes during the test")] = "constant",
    rate: Annotated[float, typer.Option(min=1, max=10_000, help="requests a second at the shape's top")] = 10.0,
    seconds: Annotated[float, typer.Option(min=1, help="length of the test")] = 60.0,
    warm_up: Annotated[float, typer.Option(min=0, help="first seconds that do not count")] = 2.0,
    slo: Annotated[str, typer.Option(help="what has to be met; exit code 3 when it is not")] = "errors=0%",
    pictures: Annotated[Path | None, typer.Option(help="file or folder of pictures to send")] = None,
    model: Annotated[str | None, typer.Option(help="which model of the server; default: the one it describes")] = None,
    out: Annotated[Path, typer.Option(help="folder of the CSV files and the HTML report")] = Path("runs/load"),
    timeout: Annotated[float, typer.Option(min=0.01, help="seconds after which a request has failed")] = 10.0,
    processes: Annotated[int, typer.Option(min=1, max=64, help="processes that send")] = 1,
    key: Annotated[Path | None, typer.Option(help="file with a key on its first line; LADING_API_KEYS")] = None,
    ca: Annotated[Path | None, typer.Option(help="certificate to trust over TLS; LADING_TLS_CERTIFICATE")] = None,
) -> None:
    """Send load that is made from the model's signature, over REST and gRPC, and judge it by an SLO.

    Example: `lading load artifacts/cards --rate 50 --seconds 30 --slo p99=50ms,errors=0.1%,rps=45`

    Example: `lading load --url http://127.0.0.1:8080 --users plain,v2-binary --shape spike --rate 100`
    """
    from lading.load.run import Load, run

    keys, trusted = os.environ.get("LADING_API_KEYS"), os.environ.get("LADING_TLS_CERTIFICATE")
    kinds: list[Kind] = [kind for kind in KINDS if kind in users.split(",")]
    if unknown := set(users.split(",")) - set(KINDS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: known are {', '.join(KINDS)}", param_hint="--users")
    code = run(
        Load(
            url=url,
            grpc=None if grpc == "off" else grpc,
            artifact=artifact,
            model=model,
            kinds=tuple(kinds),
            shape=shape,
            rate=rate,
            seconds=seconds,
            warm_up=warm_up,
            slo=slo,
            pictures=pictures,
            out=out,
            timeout=timeout,
            processes=processes,
            key=key or (Path(keys) if keys else None),
            ca=ca or (Path(trusted) if trusted else None),
        )
    )
    raise typer.Exit(code)
