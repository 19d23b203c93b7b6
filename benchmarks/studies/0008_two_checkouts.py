"""Does a change slow the server down? Decision 8: one object per inference costs nothing.

    git worktree add ../before 7f4b240
    python -m benchmarks.studies.0008_two_checkouts ../before/src

Serves one artifact with the package of another checkout and with this one, and loads them in alternating turns. Each
pair of turns gives one ratio, because other work on the machine changes both alike.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks import ROOT
from benchmarks.server.bench import add_round, bench_of, console
from benchmarks.server.closed_loop import CONNECTIONS, PORT
from benchmarks.server.load import run
from benchmarks.server.peer_list import LADING
from benchmarks.server.running_peer import serving

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    before: Annotated[Path, typer.Argument(help="src folder of the other checkout", exists=True, file_okay=False)],
    model: Annotated[str, typer.Option(help="cards, tiny or molecules")] = "tiny",
    pairs: Annotated[int, typer.Option(help="pairs of turns")] = 60,
    seconds: Annotated[float, typer.Option(help="length of a turn")] = 0.5,
) -> None:
    """Print the throughput of this checkout divided by that of the other one."""
    bench = bench_of(model, "0", "1")
    sources = {"before": before.resolve(), "after": ROOT / "src"}
    rates: dict[str, list[float]] = {name: [] for name in sources}
    with (
        serving(bench, LADING, PORT + 620, PYTHONPATH=str(sources["before"])) as old,
        serving(bench, LADING, PORT + 621, PYTHONPATH=str(sources["after"])) as new,
    ):
        servers = {"before": old, "after": new}
        for number in range(pairs + 1):
            for name in servers if number % 2 == 0 else reversed(servers):
                load = run(servers[name].target, seconds=seconds, connections=CONNECTIONS)
                if number:  # the first pair warms both up
                    rates[name].append(load.rate)
    ratios = [after / before for before, after in zip(rates["before"], rates["after"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    shown = Table("", "requests/s", title=f"{model}, {pairs} pairs of {seconds} s, {CONNECTIONS} connections")
    for name, values in rates.items():
        shown.add_row(name, f"{statistics.median(values):.0f}")
    console.print(shown)
    console.print(f"after / before: {middle:.3f} (quartiles {low:.3f} and {high:.3f})")
    add_round(f"checkouts-{model}", {"ratios": ratios})


if __name__ == "__main__":
    app()
