"""Do clients that retry at once bring a server down? Decision 22: goodput holds at 2x, and the load passes with it.

    python -m benchmarks.studies.0022_retrying_clients artifacts/cards

Clients come at twice the rate that the server can answer. Each tries three times, with the same short pause between
tries and no jitter. Then half of that rate comes. The server has one CPU, and the clients another.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import uvloop
from rich.table import Table

from benchmarks.server.bench import console, cores
from benchmarks.server.retrying import one_of, overload
from benchmarks.server.soak import serving
from lading.artifact import Artifact

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    artifact: Annotated[Path, typer.Argument(help="what is served", exists=True, file_okay=False)],
    seconds: Annotated[float, typer.Option(help="length of the overload")] = 60.0,
    server_core: Annotated[str, typer.Option(help="core of the server")] = "0",
    client_core: Annotated[str, typer.Option(help="core of the clients")] = "1",
) -> None:
    """Print the goodput before, during and after an overload by clients that retry."""
    loaded = Artifact.load(artifact)
    os.sched_setaffinity(0, cores(server_core))  # the server inherits it
    with serving(artifact) as (pid, url, _):
        os.sched_setaffinity(0, cores(client_core))
        run = uvloop.run(overload(url, pid, one_of(loaded), seconds))
    shown = Table("load", "came/s", "goodput/s", "of the peak", "p99 ms", "tries by status", "clients late, ms")
    for name, phase in zip(("0.5x", "2x", "0.5x again"), (run.before, run.during, run.after), strict=True):
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(phase.codes.items()))
        p99 = float(np.percentile(phase.took, 99)) if phase.took else float("nan")
        cells = (phase.rate, phase.goodput, phase.goodput / run.peak.rate, p99 * 1e3)
        shown.add_row(
            name, *(f"{cell:.{places}f}" for cell, places in zip(cells, (0, 0, 2, 0), strict=True)), codes,
            f"{phase.late_s * 1e3:.0f}",
        )  # fmt: skip
    console.print(shown)
    console.print(
        f"{artifact.name}: peak {run.peak.rate:.0f}/s, afterwards {run.later.rate:.0f}/s; "
        f"goodput at 2x is {run.during.goodput / run.peak.rate:.2f} of it, "
        f"{run.during.good_per_cpu_s / run.peak.per_cpu_s:.2f} by the server's CPU time; "
        f"normal again after {run.after.normal_after():.0f} s"
    )


if __name__ == "__main__":
    app()
