"""Does a change slow the server down? Decision 8: one object per inference costs nothing.

    git worktree add ../before 7f4b240
    python -m benchmarks.studies.0008_two_checkouts ../before/src

Serves one artifact with the package of another checkout and with this one, and loads them in alternating turns. Each
pair of turns gives one ratio, because other work on the machine changes both alike.
"""

from __future__ import annotations

import statistics
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks import ROOT, WORK
from benchmarks.server.bench import add_round, bench_of, console
from benchmarks.server.closed_loop import CONNECTIONS, PORT
from benchmarks.server.grpc_load import run_grpc
from benchmarks.server.load import Load, run
from benchmarks.server.peer_list import LADING
from benchmarks.server.process_clock import cpu_seconds
from benchmarks.server.request_bodies import grpc_message
from benchmarks.server.running_peer import Running, serving

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    before: Annotated[Path, typer.Argument(help="src folder of the other checkout", exists=True, file_okay=False)],
    model: Annotated[str, typer.Option(help="cards, tiny or molecules")] = "tiny",
    pairs: Annotated[int, typer.Option(help="pairs of turns")] = 60,
    seconds: Annotated[float, typer.Option(help="length of a turn")] = 0.5,
    grpc: Annotated[bool, typer.Option("--grpc", help="over gRPC")] = False,
) -> None:
    """Print the throughput of this checkout divided by that of the other one, and the same for CPU time."""
    bench = bench_of(model, "0", "1")
    sources = {"before": before.resolve(), "after": ROOT / "src"}
    rates: dict[str, list[float]] = {name: [] for name in sources}
    cpu_us: dict[str, list[float]] = {name: [] for name in sources}
    old_port, new_port = PORT + 620, PORT + 622
    body = WORK / "body" / "checkouts-grpc"
    body.parent.mkdir(parents=True, exist_ok=True)
    body.write_bytes(grpc_message(model))

    def load(running: Running, grpc_port: int) -> Load:
        if grpc:
            return run_grpc(f"127.0.0.1:{grpc_port}", body, seconds=seconds, connections=CONNECTIONS)
        return run(running.target, seconds=seconds, connections=CONNECTIONS)

    def started(name: str, port: int) -> AbstractContextManager[Running]:
        return serving(bench, LADING, port, PYTHONPATH=str(sources[name]), LADING_GRPC_PORT=str(port + 1))

    with started("before", old_port) as old, started("after", new_port) as new:
        servers = {"before": (old, old_port + 1), "after": (new, new_port + 1)}
        for number in range(pairs + 1):
            for name in servers if number % 2 == 0 else reversed(servers):
                running, port = servers[name]
                begin = cpu_seconds(running.pid)
                done = load(running, port)
                if number:  # the first pair warms both up
                    rates[name].append(done.rate)
                    answers = done.rate * seconds
                    cpu_us[name].append(1e6 * (cpu_seconds(running.pid) - begin) / max(answers, 1))
    shown = Table("", "requests/s", "CPU us per request", title=f"{model}, {pairs} pairs of {seconds} s")
    for name, values in rates.items():
        shown.add_row(name, f"{statistics.median(values):.0f}", f"{statistics.median(cpu_us[name]):.0f}")
    console.print(shown)
    ratios = {"requests/s": paired(rates["before"], rates["after"]), "CPU": paired(cpu_us["before"], cpu_us["after"])}
    for what, found in ratios.items():
        low, middle, high = statistics.quantiles(found, n=4)
        console.print(f"{what}, after / before: {middle:.3f} (quartiles {low:.3f} and {high:.3f})")
    add_round(f"checkouts-{model}{'-grpc' if grpc else ''}", {"ratios": ratios["requests/s"], "cpu": ratios["CPU"]})


def paired(before: list[float], after: list[float]) -> list[float]:
    return [new / old for old, new in zip(before, after, strict=True)]


if __name__ == "__main__":
    app()
