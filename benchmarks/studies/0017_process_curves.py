"""Do two processes train as one does? Decision 17: yes, the batch is of all processes together.

    python -m benchmarks.studies.0017_process_curves examples/digits.py:Digits --out docs/images

Writes ``processes.json`` and ``processes.svg``: the loss curves of both runs, and their difference.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import matplotlib
import typer

matplotlib.use("agg")
FIXED = ["trainer.progress=false", "logger.wandb=false", "data.workers=0", "trainer.threads=1"]


def curve(target: str, overrides: list[str], processes: int, folder: Path) -> dict[str, list[float]]:
    """Train, and read the losses by step."""
    words = [target, *FIXED, *overrides, f"trainer.devices={processes}", "--out", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "lading", "train", *words], check=True, env=environment)
    with (folder / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    found: dict[str, list[float]] = {}
    for name in ("train/loss", "valid/loss"):
        found[f"{name} step"] = [float(row["step"]) for row in rows if row.get(name)]
        found[name] = [float(row[name]) for row in rows if row.get(name)]
    return found


def plot(curves: dict[int, dict[str, list[float]]], file: Path, title: str) -> None:
    """Training and validation loss, and below them how far the two runs are apart."""
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(6, 4.5), sharex=True, height_ratios=[2, 1], layout="constrained"
    )
    for name, colour in (("train/loss", "C0"), ("valid/loss", "C1")):
        for processes, style in ((1, "-"), (2, "--")):
            row = curves[processes]
            above.plot(
                row[f"{name} step"], row[name], style, color=colour if processes == 1 else "k", lw=3 / processes,
                label=f"{name}, {processes} process{'es' * (processes > 1)}",
            )  # fmt: skip
        steps, one, two = curves[1][f"{name} step"], curves[1][name], curves[2][name]
        apart = [abs(b - a) / a for a, b in zip(one, two, strict=True)]
        below.semilogy(steps, [max(value, 1e-9) for value in apart], ".-", color=colour)
    above.set(ylabel="loss", title=title)
    above.legend(fontsize=8)
    below.set(xlabel="step", ylabel="relative difference")
    below.grid(visible=True, alpha=0.3)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def main(
    target: Annotated[str, typer.Argument(help="file.py:Class")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    out: Annotated[Path, typer.Option(help="folder to write to")] = Path("build/benchmarks"),
) -> None:
    """Train twice and draw both."""
    with tempfile.TemporaryDirectory() as folder:
        curves = {n: curve(target, overrides or [], n, Path(folder) / str(n)) for n in (1, 2)}
    out.mkdir(parents=True, exist_ok=True)
    apart = {
        name: max(abs(b - a) / a for a, b in zip(curves[1][name], curves[2][name], strict=True))
        for name in ("train/loss", "valid/loss")
    }
    print(f"largest relative difference: {apart}")
    (out / "processes.json").write_text(
        json.dumps({"target": target, "apart": apart, "curves": curves}, indent=1) + "\n"
    )
    plot(curves, out / "processes.svg", f"{target}, the same batch in one process and in two")


if __name__ == "__main__":
    typer.run(main)
