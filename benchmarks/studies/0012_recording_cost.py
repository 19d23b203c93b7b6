"""What do the payload log, feedback and drift cost? Decision 12: drift is on by default because it costs nothing.

    python -m benchmarks.studies.0012_recording_cost

Starts one server for each case; a server that is not asked sleeps. Each turn of load is compared with the turns of the
plain server before and after it: throughput, and the server's CPU time an answer, which other work changes little.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
import typer
from rich.table import Table

from benchmarks.server.bench import Bench, add_round, bench_of, console
from benchmarks.server.closed_loop import CONNECTIONS, PORT
from benchmarks.server.load import run
from benchmarks.server.peer_list import LADING
from benchmarks.server.process_clock import cpu_seconds
from benchmarks.server.running_peer import Running, serving

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
PLAIN = "plain"


def cases(log: Path) -> dict[str, dict[str, str]]:
    """The settings of each server, by name."""
    off = {"LADING_DRIFT": "false"}
    written = {"LADING_PAYLOAD_LOG": str(log / "all"), "LADING_PAYLOAD_ROTATE_S": "5"}
    return {
        PLAIN: off,
        "plain again": off,
        "drift, as by default": {"LADING_DRIFT": "true"},
        "payload log": off | written,
        "payload log, a tenth of the requests": off
        | {**written, "LADING_PAYLOAD_LOG": str(log / "tenth"), "LADING_PAYLOAD_SHARE": "0.1"},
        "payload log, pictures as files": off
        | {**written, "LADING_PAYLOAD_LOG": str(log / "files"), "LADING_PAYLOAD_IMAGES": "files"},
        "feedback": off | {"LADING_FEEDBACK": "10000"},
        "all three": {
            "LADING_DRIFT": "true",
            "LADING_FEEDBACK": "10000",
            **written,
            "LADING_PAYLOAD_LOG": str(log / "three"),
        },
    }


@dataclass(frozen=True)
class Turn:
    """What one turn of load saw."""

    rate: float
    """Answers per second."""
    cpu_ms: float
    """Of the server, an answer."""


def turn(server: Running, seconds: float) -> Turn:
    """Load a server."""
    before = cpu_seconds(server.pid)
    load = run(server.target, seconds=seconds, connections=CONNECTIONS)
    spent = cpu_seconds(server.pid) - before
    return Turn(load.rate, 1e3 * spent / max(1.0, load.rate * seconds))


def measure(bench: Bench, turns: int, seconds: float, only: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """Throughput and CPU time per answer of each case, relative to the plain server in the same turn."""
    ratios: dict[str, list[tuple[float, float]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers: dict[str, Running] = {
            name: stack.enter_context(serving(bench, LADING, PORT + 600 + number, **settings))
            for number, (name, settings) in enumerate(cases(folder).items())
            if name == PLAIN or not only or name in only
        }
        for server in servers.values():
            turn(server, seconds)
        before = turn(servers[PLAIN], seconds)
        for number in range(turns):
            others = [name for name in servers if name != PLAIN]
            for name in others if number % 2 == 0 else others[::-1]:
                found, after = turn(servers[name], seconds), turn(servers[PLAIN], seconds)
                rate, cpu = before.rate + after.rate, before.cpu_ms + after.cpu_ms
                ratios.setdefault(name, []).append((2 * found.rate / rate, 2 * found.cpu_ms / cpu))
                before = after
        for name, server in servers.items():
            url = httpx.URL(server.target.url).join("/metrics")
            dropped = [line for line in httpx.get(url).text.splitlines() if line.startswith("lading_payload_dropped")]
            if float(dropped[0].rpartition(" ")[2]):
                console.print(f"[red]{name}: {dropped[0]}, so it recorded less than it should[/red]")
    return ratios


def interval(values: list[float]) -> tuple[float, float]:
    """Of the median, 95 %, by resampling."""
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(values, (2000, len(values))), axis=1)
    return float(np.quantile(medians, 0.025)), float(np.quantile(medians, 0.975))


@app.command()
def main(
    model: Annotated[str, typer.Option(help="cards, tiny or molecules")] = "cards",
    turns: Annotated[int, typer.Option(help="of each case")] = 12,
    seconds: Annotated[float, typer.Option(help="a turn")] = 1.5,
    only: Annotated[
        list[str] | None, typer.Option(help="a case, as the table names it; repeatable; default: all")
    ] = None,
) -> None:
    """Print the throughput of each case as a share of the plain server's."""
    bench = bench_of(model, "0", "1")
    ratios = measure(bench, turns, seconds, only or ())
    shown = Table(
        "", "throughput", "95 % of it", "CPU an answer", "95 % of it", title=f"{model}, {turns} turns of {seconds} s"
    )
    for name, values in ratios.items():
        cells = []
        for column in zip(*values, strict=True):
            low, high = interval(list(column))
            cells += [f"{statistics.median(column):.3f}", f"{low:.3f} to {high:.3f}"]
        shown.add_row(name, *cells)
    console.print(shown)
    add_round(f"recording-{model}", {"ratios": ratios})


if __name__ == "__main__":
    app()
