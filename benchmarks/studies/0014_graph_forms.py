"""Dense or scattered messages in the molecules network? Decision 14: dense, with the same answer in every run.

    python -m benchmarks.studies.0014_graph_forms

Both forms get random weights. Measures T(b) on one thread in turns, and counts large batches whose answers differ from
run to run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console

from lading.build.examples import real_examples
from lading.build.export.export import export_module
from lading.build.verify.timing import Plan, measure
from lading.predictor import open_session
from lading.spec import Array
from lading.tensors.ragged import collate
from models.molecules import Form, Molecules

FORMS: tuple[Form, ...] = ("dense", "scatter")
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
RUNS = 12
MANY = 1009
"""Molecules in the smallest batch whose answers are compared: enough for ONNX Runtime to split it among its threads.
Sixteen sizes from here on, because an answer can differ only where a part ends inside a molecule."""


def main(
    rounds: Annotated[int, typer.Option(help="of each batch size")] = 9,
    molecules: Annotated[int, typer.Option(help="made-up molecules to draw from")] = 2000,
    many: Annotated[int, typer.Option(help="molecules in the smallest batch whose answers are compared")] = MANY,
    plot: Annotated[Path | None, typer.Option(help="picture of T(b) to write")] = None,
) -> None:
    """Compare the dense and the scatter form."""
    console = Console(width=160)
    cost: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {form: _export(Path(folder), form, molecules) for form in FORMS}
        examples = real_examples(Molecules(molecules=molecules), max(BATCHES))
        feeds = {size: _feed(examples, size) for size in BATCHES}
        large = [_feed(examples, size) for size in range(many, many + 16)]
        sessions = {form: open_session(file) for form, file in files.items()}
        for size in BATCHES:
            runners: dict[str, Callable[[], object]] = {
                form: partial(session.run, None, feeds[size]) for form, session in sessions.items()
            }
            for form, samples in measure(runners, Plan(rounds, 20.0)).items():
                cost.setdefault(form, []).append(float(np.median(np.concatenate(samples))))
        for form, file in files.items():
            each = ", ".join(f"{1e3 * ms / size:.1f}" for size, ms in zip(BATCHES, cost[form], strict=True))
            console.print(f"{form}: microseconds a molecule in batches of {', '.join(map(str, BATCHES))}: {each}")
            for threads in (1, 2):
                unlike, apart = _answers(file, threads, large)
                said = f"{unlike} of {len(large)} large batches differ in {RUNS} runs, by {apart:.2g} at most"
                console.print(f"  {threads} threads: {said}")
    if plot is not None:
        _plot(cost, plot)


def _export(folder: Path, form: Form, molecules: int) -> Path:
    spec = Molecules(molecules=molecules, form=form)
    torch.manual_seed(0)
    file = folder / f"{form}.onnx"
    export_module(spec, spec.build(), file)
    return file


def _feed(examples: list[Any], size: int) -> dict[str, Array]:
    return collate(Molecules.inputs, [examples[index % len(examples)] for index in range(size)])


def _answers(file: Path, threads: int, feeds: list[dict[str, Array]]) -> tuple[int, float]:
    """How many batches have more than one answer, and by how much these differ at most."""
    session = open_session(file, threads=threads)
    unlike, apart = 0, 0.0
    for feed in feeds:
        runs = [np.stack(session.run(None, feed)) for _ in range(RUNS)]
        unlike += len({run.tobytes() for run in runs}) > 1
        apart = max(apart, *(float(np.abs(run - runs[0]).max()) for run in runs))
    return unlike, apart


def _plot(cost: dict[str, list[float]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for form, times in cost.items():
        axis.plot(BATCHES, [1e3 * ms / size for size, ms in zip(BATCHES, times, strict=True)], "o-", label=form)
    axis.set_xscale("log", base=2)
    axis.set(xlabel="molecules in a batch", ylabel="microseconds a molecule", ylim=(0, None))
    axis.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    typer.run(main)
