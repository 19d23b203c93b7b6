"""How fast is ``lading score``? Decision 11: parts, batches of the lowest cost, and threads instead of a cluster.

    python -m benchmarks.studies.0011_batch_scoring --also ray,mlserver

Compares it with the limit in process and with loops that call a server. All answer the same rows on the same CPUs, in
rounds that take turns.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import ROOT, WORK
from benchmarks.server.bench import bench_of
from benchmarks.server.load import Target
from benchmarks.server.peer_list import LADING, peer_named
from benchmarks.server.running_peer import serving
from lading.artifact import Artifact
from lading.content.image import decode_image
from lading.machine import describe_machine, usable_cpus
from lading.predictor import Predictor
from lading.score.score import Options, score
from lading.score.scorer import batch_of
from lading.spec import Array

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console()
PORT = 18_460
LIMIT, SCORE = "in-process limit", "lading score"
RAY = "lading score --ray local, from its start to its end"
ONE, MANY = "HTTP loop, one connection", "HTTP loop, a connection a CPU"
MLSERVER = "HTTP loop to MLServer, a connection a CPU"


@app.command()
def main(
    model: Annotated[str, typer.Option(help="cards (photos) or tiny (a table)")] = "cards",
    rows: Annotated[int, typer.Option(help="that are scored in a round")] = 3000,
    http_rows: Annotated[int, typer.Option(help="that the HTTP loops ask for in a round")] = 1000,
    rounds: Annotated[int, typer.Option(help="interleaved rounds")] = 5,
    also: Annotated[
        str, typer.Option(help="ray (on this machine), mlserver (a loop that calls it), or both: ray,mlserver")
    ] = "",
) -> None:
    """Rows per second, medians over rounds."""
    every = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    bench = bench_of(model, every, every)
    artifact = Artifact.load(bench.artifact)
    data = [(ROOT / "examples" / "ace-of-hearts.jpg").read_bytes()] * rows if model == "cards" else _table(rows)
    folder = WORK / "batch-scoring"
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{model}.parquet"
    name = artifact.manifest.inputs[0].name
    column = (
        data if isinstance(data, list) else pa.FixedSizeListArray.from_arrays(pa.array(data.ravel()), data.shape[1])
    )
    cpus = max(1, int(usable_cpus()))
    pq.write_table(pa.table({name: column}), source, row_group_size=-(-rows // (4 * cpus)))
    with serving(bench, LADING, PORT) as running, contextlib.ExitStack() as stack:
        url = str(httpx.URL(running.target.url).join("/"))
        runs: dict[str, Callable[[], float]] = {
            LIMIT: lambda: _limit(artifact, data, cpus),
            SCORE: lambda: _score(artifact, source, folder / f"{model}-scored.parquet", rows, Options(overwrite=True)),
            ONE: lambda: _http(url, name, data[:http_rows], 1),
            MANY: lambda: _http(url, name, data[:http_rows], cpus),
        }
        if "ray" in also:
            on_ray = Options(overwrite=True, ray="local", workers=cpus)
            runs[RAY] = lambda: _score(artifact, source, folder / f"{model}-on-ray.parquet", rows, on_ray)
        if "mlserver" in also:
            target = stack.enter_context(serving(bench, peer_named("mlserver"), PORT + 10)).target
            runs[MLSERVER] = lambda: _asking(target, http_rows, cpus)
        seen: dict[str, list[float]] = {key: [] for key in runs}
        for number in range(rounds):
            for key in list(runs) if number % 2 == 0 else reversed(list(runs)):
                seen[key].append(runs[key]())
    ratios = {key: [one / top for one, top in zip(found, seen[LIMIT], strict=True)] for key, found in seen.items()}
    shown = Table("", "rows/s", f"share of the limit, {cpus} CPUs")
    for key, found in seen.items():
        shown.add_row(key, f"{statistics.median(found):,.0f}", f"{statistics.median(ratios[key]):.3f}")
    console.print(shown)
    results = WORK / "results" / f"batch-scoring-{model}.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    machine = describe_machine().model_dump(mode="json")
    results.write_text(json.dumps({"rows": rows, "cpus": cpus, "rates": seen, "machine": machine}, indent=1))
    console.print(f"results: {results}", highlight=False)


def _table(rows: int) -> Array:
    return np.random.default_rng(0).normal(size=(rows, 16)).astype(np.float32)


def _limit(artifact: Artifact, data: list[bytes] | Array, cpus: int) -> float:
    """Bytes in memory to outputs in memory, in batches of the cheapest size, a thread a CPU."""
    predictor, batch = Predictor(artifact), batch_of(artifact, None)
    spec = artifact.manifest.inputs[0]

    def lane(first: int) -> None:
        for start in starts[first::cpus]:
            run(start)

    def run(start: int) -> None:
        rows = data[start : start + batch]
        if isinstance(rows, list):
            height, width = int(spec.shape[1]), int(spec.shape[2])
            rows = np.stack([decode_image(one, height=height, width=width) for one in rows])
        predictor({spec.name: rows})

    starts = range(0, len(data), batch)
    run(0)
    begin = time.perf_counter()
    with ThreadPoolExecutor(cpus) as pool:
        list(pool.map(lane, range(cpus)))
    return len(data) / (time.perf_counter() - begin)


def _score(artifact: Artifact, source: Path, output: Path, rows: int, options: Options) -> float:
    """The whole command but for the interpreter's start: loading, checking, reading, writing, joining."""
    begin = time.perf_counter()
    score(artifact, source, output, options, Console(quiet=True))
    return rows / (time.perf_counter() - begin)


def _http(url: str, name: str, data: list[bytes] | Array, connections: int) -> float:
    """A loop as one would write it: a request a row."""

    def ask(lane: int) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            for row in data[lane::connections]:
                if isinstance(row, bytes):
                    answer = client.post("/classify", content=row, headers={"content-type": "image/jpeg"})
                else:
                    answer = client.post("/predict", content=json.dumps({name: [row.tolist()]}))
                answer.raise_for_status()
                answer.json()

    begin = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(ask, range(connections)))
    return len(data) / (time.perf_counter() - begin)


def _asking(target: Target, count: int, connections: int) -> float:
    """A loop that sends a peer the harness's one request."""

    def ask(lane: int) -> None:
        with httpx.Client(timeout=60, headers={"content-type": target.content_type}) as client:
            for _ in range(lane, count, connections):
                client.post(target.url, content=body).raise_for_status().json()

    body, begin = target.body.read_bytes(), time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(ask, range(connections)))
    return count / (time.perf_counter() - begin)


if __name__ == "__main__":
    app()
