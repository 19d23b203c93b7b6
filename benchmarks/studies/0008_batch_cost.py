"""What does a run of b examples take, T(b)? Decision 8: batches are as large as this table says is worth it.

    python -m benchmarks.studies.0008_batch_cost artifacts/molecules

One request is joined with itself as the server joins requests, one run after another on one core. Sizes take turns, so
that a slow spell of the machine affects all of them.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import WORK
from benchmarks.server import plots
from benchmarks.server.answers import request_of
from lading.artifact import Artifact
from lading.predictor import Predictor
from lading.tensors.checks import check_inputs
from lading.tensors.ragged import CheckedInputs, count_rows, join_requests


def main(
    artifact: Annotated[Path, typer.Argument(help="what `lading build` made")] = Path("artifacts/molecules"),
    most: Annotated[int, typer.Option(help="largest batch")] = 64,
    rounds: int = 300,
    core: int = 0,
    out: Annotated[Path, typer.Option(help="folder for the plot")] = WORK / "report",
) -> None:
    """Measure T(b)."""
    os.sched_setaffinity(0, {core})
    loaded = Artifact.load(artifact)
    found = measure(loaded, [2**power for power in range(most.bit_length())], rounds)
    table = Table("batch", "T(b), us", "us an example", title=f"{loaded.manifest.name}, {loaded.manifest.chosen}")
    for size, seconds in found.items():
        table.add_row(str(size), f"{seconds * 1e6:.0f}", f"{seconds / size * 1e6:.1f}")
    Console().print(table)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"batch-cost-{loaded.manifest.name}.svg").write_text(plots.batch_cost(found))


def measure(artifact: Artifact, sizes: list[int], rounds: int) -> dict[int, float]:
    """Median seconds of a run by its size."""
    predictor, one = Predictor(artifact), request_of(artifact)
    inputs = artifact.manifest.inputs
    checked = CheckedInputs(one, check_inputs(inputs, one), count_rows(inputs, one))
    joined = {size: join_requests(inputs, [checked] * size) for size in sizes}
    took: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size, batch in joined.items():
            begin = time.perf_counter()
            predictor.run(batch)
            took[size].append(time.perf_counter() - begin)
    return {size: statistics.median(times) for size, times in took.items()}


if __name__ == "__main__":
    typer.run(main)
