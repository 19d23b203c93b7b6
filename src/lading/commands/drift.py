"""``lading drift check`` and ``lading drift serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lading.terminal import console

drift = typer.Typer(
    name="drift", help="Compare what a service was asked with what it was trained on.", no_args_is_help=True
)

Log = Annotated[Path, typer.Argument(help="folder of a payload log (LADING_PAYLOAD_LOG)")]
Packed = Annotated[Path, typer.Argument(help="artifact folder that was served, for example artifacts/cards")]


@drift.command()
def check(
    log: Log,
    artifact: Packed,
    newest: Annotated[int, typer.Option("--newest", "-n", min=50, help="newest examples to look at")] = 500,
    report: Annotated[Path | None, typer.Option(help="also write an HTML page")] = None,
) -> None:
    """Score a payload log against the training data; exit code 3 when something has drifted.

    Example: `lading drift check payloads artifacts/cards --report drift.html`
    """
    from lading.artifact import Artifact
    from lading.drift.check import check_log
    from lading.errors import GateRefusedError

    found = check_log(log, Artifact.load(artifact), newest=newest)
    console().print(found.table())
    for output, (right, known) in found.accuracy.items():
        console().print(f"{output}: {right} of {known} answers with a known truth were right ({right / known:.3f})")
    if report is not None:
        report.write_text(found.report(newest), encoding="utf-8")
        console().print(f"report: {report}")
    if found.drifted:
        names = ", ".join(sorted({score.feature for score in found.scores if score.drifted}))
        raise GateRefusedError(f"{found.model} has drifted: {names}")
    console().print("nothing has drifted")


@drift.command()
def serve(
    log: Log,
    artifact: Packed,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port; 0: a free one")] = 8090,
) -> None:
    """Serve Evidently's report on the newest examples of a payload log: GET /report?n=500.

    Example: `lading drift serve payloads artifacts/cards --port 8090`
    """
    import uvicorn

    from lading.artifact import Artifact
    from lading.drift.evidently_report import evidently_app

    uvicorn.run(evidently_app(log, Artifact.load(artifact)), host=host, port=port, log_level="warning")
