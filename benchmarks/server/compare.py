"""``make bench``: Lading next to its peers and to the limit of the machine. Each command adds rounds to the results."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import WORK
from benchmarks.server import report
from benchmarks.server.bench import RESULTS, bench_of, console, read_results
from benchmarks.server.closed_loop import measure_peers, measure_shares
from benchmarks.server.footprint import measure_start
from benchmarks.server.open_loop import measure_loads
from benchmarks.server.peer_environment import environment_of
from benchmarks.server.peer_list import ALL, LADING

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
Model = Annotated[str, typer.Option(help="cards, tiny or molecules")]
Rounds = Annotated[int, typer.Option(help="rounds to add to the results")]
Seconds = Annotated[float, typer.Option(help="of one load")]
Servers = Annotated[str, typer.Option(help="the servers' cores")]
Loads = Annotated[str, typer.Option(help="cores of the load generator and of everything else")]
Only = Annotated[str, typer.Option(help="names of peers, separated by commas; empty: all")]


@app.command()
def install() -> None:
    """Make the environment of every peer."""
    for peer in ALL:
        console.print(f"{peer.name}: {environment_of(peer)}")


@app.command()
def peers(
    model: Model = "cards",
    rounds: Rounds = 1,
    seconds: Seconds = 5.0,
    only: Only = "",
    servers: Servers = "0",
    loads: Loads = "1",
) -> None:
    """Closed loop: requests per second of every peer."""
    bench = bench_of(model, servers, loads)
    chosen = [peer for peer in ALL if peer.serves(model) and (not only or peer.name in only.split(","))]
    for _ in range(rounds):
        measure_peers(bench, chosen, len(read_results(f"peers-{model}")), seconds)


@app.command()
def shares(rounds: Rounds = 1, seconds: Seconds = 1.0, servers: Servers = "0", loads: Loads = "1") -> None:
    """Lading's protocols and ports as shares of L_pipe."""
    bench = bench_of("cards", servers, loads)
    for _ in range(rounds):
        measure_shares(bench, seconds=seconds)


@app.command()
def load(
    model: Model = "cards",
    rounds: Rounds = 1,
    seconds: Seconds = 5.0,
    only: Only = "lading",
    servers: Servers = "0",
    loads: Loads = "1",
) -> None:
    """Open loop: latency against load, and goodput under overload."""
    bench = bench_of(model, servers, loads)
    for _ in range(rounds):
        for peer in ALL:
            if peer.serves(model) and peer.name in only.split(","):
                measure_loads(bench, peer, seconds)


@app.command()
def start(rounds: Rounds = 5, servers: Servers = "0", loads: Loads = "1") -> None:
    """Process start to ready, and resident memory."""
    bench = bench_of("cards", servers, loads)
    for _ in range(rounds):
        measure_start(bench)


@app.command("report")
def write_report(out: Annotated[Path, typer.Option(help="where the table and the plots go")] = WORK / "report") -> None:
    """The table and the plots of the results so far."""
    report.write(RESULTS, out)
    console.print((out / "table.md").read_text(), markup=False)


@app.command("all")
def everything(rounds: Rounds = 3, seconds: Seconds = 5.0, servers: Servers = "0", loads: Loads = "1") -> None:
    """All of it from the start, and the report."""
    shutil.rmtree(RESULTS, ignore_errors=True)
    install()
    for _ in range(rounds):
        shares(1, 1.0, servers, loads)
        peers("cards", 1, seconds, "", servers, loads)
        peers("tiny", 1, seconds, "", servers, loads)
        load("cards", 1, seconds, f"{LADING.name},fastapi_onnxruntime,bentoml_api", servers, loads)
        start(2, servers, loads)
    write_report(WORK / "report")


if __name__ == "__main__":
    app()
