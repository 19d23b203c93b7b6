"""How many training pictures per second do loader processes give? Decision 17: files are the data set's own affair.

    python -m benchmarks.studies.0017_loader --out docs/images

Writes ``loader.json`` and ``loader.svg``. Pictures are drawn when asked for, or read from the disk, then shuffled,
decoded, augmented and joined to batches as ``lading train models/cards.py:Cards`` does it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import matplotlib
import typer
from rich.console import Console
from rich.table import Table

from lading.build.train.batches import training_batches
from lading.build.train.processes import Processes
from lading.machine import describe_machine
from lading.spec import Example
from models.card_decks.rendered import PHOTOS_A_DECK, RenderedDecks
from models.cards import Cards

matplotlib.use("agg")
BATCH = 64
PREFETCH = 2


class Repeated:
    """A split again and again, so that no epoch ends while it is measured."""

    def __init__(self, split: RenderedDecks, times: int) -> None:
        self.split, self.times = split, times

    def __len__(self) -> int:
        return self.times * len(self.split)

    def __getitem__(self, index: int) -> Example:
        return self.split[index % len(self.split)]


def rate(split: Repeated, workers: int, seconds: float) -> float:
    """Pictures per second, without the batches that the processes loaded before the clock started."""
    batches = training_batches(
        Cards(), split, batch_size=BATCH, seed=0, group=Processes(), workers=workers, prefetch=PREFETCH
    )
    ready = PREFETCH * workers + 1
    begin = 0.0
    for number, _ in enumerate(batches, 1 - ready):
        if number == 0:
            begin = time.perf_counter()
        elif number > 0 and time.perf_counter() - begin > seconds:
            return number * BATCH / (time.perf_counter() - begin)
    raise RuntimeError("the split is too small for so many seconds")


def measure(workers: list[int], seconds: float, decks: int) -> dict[str, dict[int, float]]:
    """Rates by source and number of workers; 0 loads in the training process."""
    with tempfile.TemporaryDirectory() as drawn, tempfile.TemporaryDirectory() as kept:
        count = decks * PHOTOS_A_DECK
        sources = {
            "drawn when asked for": RenderedDecks("train", count, cache=Path(drawn)),
            "read from the disk": RenderedDecks("train", count, cache=Path(kept)).prepare(),
        }
        return {name: {n: rate(Repeated(split, 100), n, seconds) for n in workers} for name, split in sources.items()}


def plot(rates: dict[str, dict[int, float]], cores: int, file: Path) -> None:
    """Rates by number of workers, on a logarithmic axis."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    for name, row in rates.items():
        axes.plot(list(row), list(row.values()), "o-", label=name)
    axes.set(xlabel=f"loader processes (machine of {cores} cores)", ylabel="pictures per second", yscale="log")
    axes.set_xticks(sorted({n for row in rates.values() for n in row}))
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def main(
    out: Annotated[Path, typer.Option(help="folder to write to")] = Path("build/benchmarks"),
    seconds: Annotated[float, typer.Option(help="of each measurement")] = 10.0,
    workers: Annotated[str, typer.Option(help="numbers of processes")] = "0,1,2,4",
    decks: Annotated[int, typer.Option(help="decks whose pictures are loaded")] = 8,
) -> None:
    """Measure, show a table, write figures and a plot."""
    rates = measure([int(n) for n in workers.split(",")], seconds, decks)
    table = Table("loader processes", *rates, title="training pictures per second")
    for n in next(iter(rates.values())):
        table.add_row(str(n), *(f"{row[n]:.0f}" for row in rates.values()))
    Console().print(table)
    out.mkdir(parents=True, exist_ok=True)
    cores = len(os.sched_getaffinity(0))
    facts = {
        "machine": describe_machine().model_dump(),
        "cores": cores,
        "seconds": seconds,
        "rates": rates,
    }
    (out / "loader.json").write_text(json.dumps(facts, indent=2) + "\n")
    plot(rates, cores, out / "loader.svg")


if __name__ == "__main__":
    typer.run(main)
