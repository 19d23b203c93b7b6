"""``lading sweep``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from lading.terminal import console


def sweep(
    file: Annotated[Path, typer.Argument(help="a W&B sweep file, for example configs/sweeps/cards.yaml")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="training configuration of every trial")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="trials, at most")] = 8,
    seed: Annotated[int, typer.Option(help="of the sampling")] = 0,
    out: Annotated[Path | None, typer.Option(help="folder of the trials; default runs/sweeps/TIME")] = None,
) -> None:
    """Try a sweep's parameters here, without W&B's server: Hydra's multirun, with Optuna choosing the trials.

    Example: `lading sweep configs/sweeps/cards.yaml --count 8`

    With W&B the same file runs on many machines: `wandb sweep FILE`, then `wandb agent ID` on each.
    """
    from lading.sweep import read_sweep, run_sweep, sweep_table

    folder = out or Path("runs") / "sweeps" / datetime.now().strftime("%Y%m%d-%H%M%S")
    trials = run_sweep(file, overrides or [], folder, count=count, seed=seed)
    console().print(sweep_table(read_sweep(file), trials))
    console().print(f"best: {trials[0].folder}, {trials[0].value:.4f}")
