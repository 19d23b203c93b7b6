"""``make bench-peers``: Lading beside its peers, in interleaved rounds on the same cores."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.limits import model_limit, pipe_limit
from benchmarks.load import Load, run
from benchmarks.peers import ALL, LADING, ROOT, WORK, Peer, serving
from lading.machine import describe_machine

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console()


@app.command()
def peers(
    model: Annotated[str, typer.Option(help="cards or tiny")] = "cards",
    only: Annotated[str, typer.Option(help="names of peers, separated by commas; empty: all")] = "",
    rounds: Annotated[int, typer.Option(help="interleaved rounds")] = 3,
    seconds: Annotated[float, typer.Option(help="of one load")] = 5.0,
    connections: Annotated[int, typer.Option(help="closed loop")] = 8,
    server_cores: Annotated[str, typer.Option(help="the servers' cores")] = "0",
    load_cores: Annotated[str, typer.Option(help="the load generator's cores")] = "1",
    out: Annotated[Path, typer.Option(help="where results go")] = WORK / "results",
) -> None:
    """Closed loop: requests a second of every peer, medians over rounds whose order turns round."""
    artifact = artifact_of(model)
    servers, loads = cores(server_cores), cores(load_cores)
    chosen = [peer for peer in ALL if model in peer.models and (not only or peer.name in only.split(","))]
    seen: dict[str, list[Load]] = {peer.name: [] for peer in chosen}
    limits: list[float] = []
    for number in range(rounds):
        limits.append(limit(model, artifact, seconds, min(servers)))
        for peer in order(chosen, number):
            try:
                with serving(peer, model, artifact, servers, 18_000 + 10 * ALL.index(peer)) as target:
                    run(target, seconds=2, connections=connections, cores=loads)
                    seen[peer.name].append(run(target, seconds=seconds, connections=connections, cores=loads))
            except Exception as error:
                console.print(f"[red]{peer.name}[/red]: {error}", markup=True, highlight=False)
                continue
            console.print(f"round {number + 1}: {peer.name} {seen[peer.name][-1].rate:.0f}/s", highlight=False)
    rows = {name: found for name, found in seen.items() if found}
    console.print(table(rows, limits, model))
    write(
        out / f"peers-{model}.json",
        {"limit": limits, "peers": {name: [one.as_dict() for one in found] for name, found in rows.items()}},
    )


@app.command()
def overload(
    model: Annotated[str, typer.Option(help="cards or tiny")] = "cards",
    deadline_ms: Annotated[float, typer.Option(help="of every request")] = 100.0,
    seconds: Annotated[float, typer.Option(help="of one load")] = 8.0,
    server_cores: Annotated[str, typer.Option(help="the server's cores")] = "0",
    load_cores: Annotated[str, typer.Option(help="the load generator's cores")] = "1,2",
    out: Annotated[Path, typer.Option(help="where results go")] = WORK / "results",
) -> None:
    """Open loop: latency at 70 % of the peak, and goodput within the deadline at one to four times of it."""
    artifact = artifact_of(model)
    servers, loads = cores(server_cores), cores(load_cores)
    shown = Table("offered", "answered/s", "share of peak", "p50 ms", "p99 ms", "p99.9 ms", "codes")
    found: list[dict[str, Any]] = []
    with serving(LADING, model, artifact, servers, 18_500) as plain:
        peak = run(plain, seconds=seconds, connections=8, cores=loads).rate
        target = type(plain)(plain.url, plain.body, plain.content_type, (f"x-request-timeout-ms: {deadline_ms}",))
        for share in (0.3, 0.5, 0.7, 0.9, 1.0, 1.5, 2.0, 3.0, 4.0):
            one = run(target, seconds=seconds, connections=400, cores=loads, rate=share * peak)
            found.append({"share": share, **one.as_dict()})
            shown.add_row(
                f"{share:.1f} x {peak:.0f}/s",
                f"{one.rate:.0f}",
                f"{one.rate / peak:.2f}",
                *(f"{value:.2f}" for value in (one.p50, one.p99, one.p999)),
                ", ".join(f"{code}: {count}" for code, count in sorted(one.codes.items())),
            )
    console.print(shown)
    write(out / f"overload-{model}.json", {"peak": peak, "deadline_ms": deadline_ms, "loads": found})


def order(peers: Sequence[Peer], number: int) -> list[Peer]:
    """There and back again, so that a drift of the machine hits all alike."""
    return list(peers) if number % 2 == 0 else list(reversed(peers))


def cores(text: str) -> set[int]:
    """``0,2`` to a set."""
    return {int(part) for part in text.split(",")}


def artifact_of(model: str) -> Path:
    """The artifact that is served; the tiny one is made here."""
    if model == "cards":
        return ROOT / "artifacts" / "cards"
    from benchmarks.tiny_model import write as write_model
    from lading.wrap_onnx import pack_onnx

    artifact = WORK / "tiny"
    if not (artifact / "lading.json").exists():
        pack_onnx(write_model(WORK / "tiny.onnx"), artifact, name="tiny")
    return artifact


def limit(model: str, artifact: Path, seconds: float, core: int) -> float:
    """L_pipe of the cards, L_model of the tiny model; in a process of its own, so that pinning ends with it."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        if model == "cards":
            photo = ROOT / "examples" / "ace-of-hearts.jpg"
            return pool.submit(pipe_limit, artifact, photo, seconds, core).result()
        return pool.submit(model_limit, artifact, seconds, core).result()


def table(rows: dict[str, list[Load]], limits: list[float], model: str) -> Table:
    """Medians, the share of the limit, and how many times as fast the first is."""
    top = statistics.median(limits)
    rates = {name: statistics.median(one.rate for one in found) for name, found in rows.items()}
    shown = Table("peer", "requests/s", f"share of {'L_pipe' if model == 'cards' else 'L_model'} {top:.0f}/s")
    for column in ("lading is faster by", "p50 ms", "p99 ms"):
        shown.add_column(column, justify="right")
    own = rates.get(LADING.name)
    for name, rate in sorted(rates.items(), key=lambda entry: -entry[1]):
        p50, p99 = (statistics.median(getattr(one, key) for one in rows[name]) for key in ("p50", "p99"))
        faster = f"{own / rate:.2f}x" if own else ""
        shown.add_row(name, f"{rate:.0f}", f"{rate / top:.3f}", faster, f"{p50:.2f}", f"{p99:.2f}")
    return shown


def write(path: Path, result: dict[str, Any]) -> None:
    """Write a result with the machine it belongs to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = describe_machine().model_dump(mode="json")
    path.write_text(json.dumps({"created": datetime.now(UTC).isoformat(), "machine": machine, **result}, indent=1))
    console.print(f"results: {path}", highlight=False)


if __name__ == "__main__":
    app()
