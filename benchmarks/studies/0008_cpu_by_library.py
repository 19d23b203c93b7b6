"""In which library does a request spend its CPU time? Decision 8: a short way through HTTP, one engine, few threads.

    python -m benchmarks.studies.0008_cpu_by_library

Samples the server's core with Linux's perf (``apt install linux-perf``). A path of the server and L_pipe, which only
decodes and runs, take turns, so that both see the same machine. The difference in a library is the price of serving:
the server's own work, and caches that other work has emptied.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.server.bench import bench_of, console
from benchmarks.server.closed_loop import Endpoint, endpoints
from benchmarks.server.footprint import family
from benchmarks.server.limits import Limit

HERTZ = 1500
LEAST_US = 8.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[str, typer.Option(help="cards or tiny")] = "cards",
    turns: Annotated[int, typer.Option(help="turns of each path, and of L_pipe between them")] = 12,
    seconds: Annotated[float, typer.Option(help="of one turn")] = 1.0,
    servers: Annotated[str, typer.Option(help="the servers' core")] = "0",
    loads: Annotated[str, typer.Option(help="cores of the load generator and of everything else")] = "1",
) -> None:
    """Measure every path of Lading and show microseconds a request by library."""
    if shutil.which("perf") is None:
        raise typer.BadParameter("perf is not installed: apt install linux-perf")
    bench = bench_of(model, servers, loads)
    with endpoints(bench, seconds) as asked:
        found = {name: _measure(endpoint, bench.limit, turns, seconds) for name, endpoint in asked.items()}
    console.print(table(found))


def _measure(endpoint: Endpoint, limit: Limit, turns: int, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """Microseconds a request by library: of the server, and of L_pipe."""
    endpoint.ask()
    limit.measure(0.2)
    server, alone = family(endpoint.pid), {limit.pid}
    answered = called = 0.0
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "perf.data"
        pids = ",".join(str(pid) for pid in sorted(server | alone))
        command = ["perf", "record", "-e", "cpu-clock", "-F", str(HERTZ), "-p", pids, "-o", str(data)]
        perf = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(turns):
            answered += endpoint.ask().rate * seconds
            called += limit.measure(seconds) * seconds
        perf.terminate()
        perf.wait()
        script = ["perf", "script", "-i", str(data), "-F", "pid,ip,dso"]
        lines = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
    counts = samples(lines, alone)
    requests = {True: answered, False: called}
    us: dict[bool, dict[str, float]] = {True: {}, False: {}}
    for (own, library), count in counts.items():
        us[own][library] = count / HERTZ / requests[own] * 1e6
    return us[True], us[False]


def samples(lines: list[str], alone: set[int]) -> Counter[tuple[bool, str]]:
    """Samples by library, of the server (true) and of the processes ``alone``, from the lines of ``perf script``."""
    counts: Counter[tuple[bool, str]] = Counter()
    for line in lines:
        pid, *_, library = line.split() or ("0", "")
        if library:
            name = Path(library.strip("()")).name.partition(".")[0].partition("-")[0]
            counts[int(pid) not in alone, name] += 1
    return counts


def table(found: dict[str, tuple[dict[str, float], dict[str, float]]]) -> Table:
    """One row a library: microseconds in L_pipe, and in each path; what takes little everywhere is one row.

    The paths are measured one after the other, and the machine changes its speed: each is shown at the speed that makes
    its own L_pipe the mean one.
    """
    limits = [alone for _, alone in found.values()]
    limit = {name: sum(one.get(name, 0.0) for one in limits) / len(limits) for one in limits for name in one}
    mean = sum(limit.values())
    columns = [limit]
    for server, alone in found.values():
        speed = mean / (sum(alone.values()) or mean)
        columns.append({name: us * speed for name, us in server.items()})
    shown = {name for one in columns for name, us in one.items() if us >= LEAST_US}
    result = Table("library", "L_pipe", *found, title="microseconds of the server's core a request")
    for name in sorted(shown, key=lambda name: -max(one.get(name, 0.0) for one in columns)):
        result.add_row(name, *(f"{one.get(name, 0.0):.0f}" for one in columns))
    result.add_row("all else", *(f"{sum(us for name, us in one.items() if name not in shown):.0f}" for one in columns))
    result.add_row("together", *(f"{sum(one.values()):.0f}" for one in columns))
    return result


if __name__ == "__main__":
    app()
