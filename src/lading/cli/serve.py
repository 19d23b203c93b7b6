"""Commands that run a model: ``serve``, ``score`` and ``doctor``."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from lading.cli.access import Ca, Key
from lading.cli.terminal import console


def serve(
    artifact: Annotated[
        list[Path] | None, typer.Argument(help="artifact folders; requests use the first by default")
    ] = None,
    host: Annotated[str | None, typer.Option(help="address to listen on; LADING_HTTP_HOST")] = None,
    port: Annotated[str | None, typer.Option(help="HTTP port, or off; LADING_HTTP_PORT, 8080")] = None,
    grpc_port: Annotated[str | None, typer.Option(help="gRPC port, or off; LADING_GRPC_PORT, 9000")] = None,
    models: Annotated[Path | None, typer.Option(help="folder of artifacts; LADING_MODELS")] = None,
    variant: Annotated[str | None, typer.Option(help="variant to serve; default: the one that verify chose")] = None,
) -> None:
    """Serve artifacts over HTTP and gRPC, without BentoML.

    Example: `lading serve artifacts/cards --port 8080`
    """
    # Garbage collection among imported modules takes a tenth of the start. It is enabled again once all is loaded.
    gc.disable()
    from lading.errors import SettingsError
    from lading.serve.engine.artifacts import leave_message
    from lading.serve.supervisor import serve as run
    from lading.settings import Settings

    given: dict[str, object] = {
        "artifact": tuple(artifact or ()),
        "http_host": host,
        "http_port": port,
        "grpc_port": grpc_port,
    }
    given |= {"models": models, "variant": variant}
    try:
        settings = Settings(**{key: value for key, value in given.items() if value})  # type: ignore[arg-type]
    except SettingsError as error:
        leave_message(f"the server cannot start: {error}")
        raise
    run(settings)


def score(
    artifact: Annotated[Path, typer.Argument(help="artifact folder, for example artifacts/cards")],
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Parquet, JSON lines, or a folder of them or pictures")
    ],
    output: Annotated[Path, typer.Argument(help="file to write: .parquet or .jsonl")],
    variant: Annotated[
        str | None, typer.Option(help="variant to score with; default: the one that verify chose")
    ] = None,
    keep: Annotated[list[str] | None, typer.Option(help="input column to copy to the result; repeatable")] = None,
    errors: Annotated[
        Literal["fail", "keep"], typer.Option(help="bad rows: fail at the first, or keep them with a column `error`")
    ] = "fail",
    lanes: Annotated[int, typer.Option(min=0, help="threads; 0: one per usable CPU")] = 0,
    batch: Annotated[int, typer.Option(min=0, help="rows per run; 0: the cheapest size that verify measured")] = 0,
    part_rows: Annotated[int, typer.Option(min=0, help="rows per part; 0: about two seconds of work")] = 0,
    ray: Annotated[
        str | None, typer.Option(help="run on Ray at this address; `auto` inside a cluster, or `local`")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="processes on Ray; 0: one per CPU of the cluster")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="discard an earlier result and start again")] = False,
) -> None:
    """Predict for a table or a folder of pictures. An interrupted run continues where it stopped.

    Example: `lading score artifacts/cards photos/ cards.parquet`

    Example: `lading score artifacts/cards photos.parquet cards.jsonl --keep id --errors keep`
    """
    from rich.console import Console

    from lading.artifact import Artifact
    from lading.errors import SettingsError

    try:
        from lading.score.score import Options
        from lading.score.score import score as run
    except ModuleNotFoundError as missing:
        raise SettingsError(f"scoring needs {missing.name}: pip install 'lading[score]'") from None
    options = Options(
        variant=variant,
        keep=tuple(keep or ()),
        keep_errors=errors == "keep",
        batch=batch,
        part_rows=part_rows,
        lanes=lanes,
        ray=ray,
        workers=workers,
        overwrite=overwrite,
    )
    begin = time.perf_counter()
    done = run(Artifact.load(artifact), source, output, options, Console(stderr=True))
    seconds = time.perf_counter() - begin
    rows, bad = done.finished.rows, done.finished.errors
    if done.scored:
        earlier = f", {rows - done.scored} of them earlier" if rows > done.scored else ""
        speed = f", {done.scored / seconds:,.0f} rows/s"
    else:
        earlier, speed = (" before" if rows else ""), ""
    typer.echo(f"{output}: {rows} rows scored{earlier}{speed}, with {done.finished.plan.variant}")
    if bad:
        typer.echo(f"{bad} of {rows} rows have no answer; the column `error` says why", err=True)


def doctor(
    artifact: Annotated[
        list[str] | None,
        typer.Argument(help="artifact folders; default: LADING_ARTIFACT. With --decode also the address of a server"),
    ] = None,
    decode: Annotated[
        Path | None, typer.Option(metavar="DIR", help="send these pictures as files and as training's pixels instead")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="with --decode: spec whose data set reads files")
    ] = None,
    allow: Annotated[
        float | None, typer.Option(min=0, max=1, help="with --decode: largest share of changed answers; default 0.001")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="with --decode: variant of the artifact")] = None,
    key: Key = None,
    ca: Ca = None,
) -> None:
    """Check that this machine can serve: packages, CPU, memory, limits, ports, and golden answers.

    With --decode, check that a served picture gets the answer that training's pixels get. Exit code 3 if not.

    Example: `lading doctor artifacts/cards`

    Example: `lading doctor artifacts/cards --decode photos`
    """
    from lading.errors import GateRefusedError, SettingsError
    from lading.settings import Settings

    if decode is not None:
        from lading.deploy.decode_skew import ALLOWED, decode_skew, skew_table
        from lading.protocol.client import Access

        targets = artifact or [str(path) for path in Settings().artifact]
        if len(targets) != 1:
            raise SettingsError(f"--decode takes one artifact or address of a server, not {len(targets)}: name one")
        found = decode_skew(targets[0], decode, model=model, variant=variant, access=Access(key, ca))
        console().print(skew_table(found))
        allowed = ALLOWED if allow is None else allow
        if found.share > allowed:
            raise GateRefusedError(
                f"decoding changes {found.share:.2%} of the answers; at most {allowed:.2%} is allowed. Declare in "
                "TensorSpec.preprocess what training does, or read its photos with lading.content.image.as_tensor"
            )
        return
    from lading.deploy.doctor import checks_table, examine

    if (model, variant, allow) != (None, None, None):
        raise SettingsError("--model, --variant and --allow have no effect without --decode: leave them out")
    settings = Settings()
    checks = examine(tuple(map(Path, artifact or ())) or settings.artifact, settings)
    console().print(checks_table(checks))
    if any(check.state == "failed" for check in checks):
        raise typer.Exit(1)
