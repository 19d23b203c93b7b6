"""``python -m lading.build.train.average``: the mean of two checkpoints. It often generalises better than either.

Weights of a run and of the one it started from lie in one basin, and their mean keeps what both learned:
"Robust fine-tuning of zero-shot models" (arXiv:2109.01903), "Model soups" (arXiv:2203.05482).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn

from lading.build.train.checkpoint import command_line, load_checkpoint, new_card, save_checkpoint, spec_of
from lading.build.train.module import evaluate
from lading.build.train.train import prepared, score_splits
from lading.errors import CheckpointError
from lading.import_string import load_spec
from lading.spec import ModelSpec

SHARES = tuple(step / 10 for step in range(11))
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="file.py:Class")],
    first: Annotated[Path, typer.Argument(help="checkpoint; its run becomes the parent")],
    second: Annotated[Path, typer.Argument(help="checkpoint of the same shapes")],
    out: Annotated[Path, typer.Option(help="run folder to write the mean to")],
    share: Annotated[
        float | None, typer.Option(min=0, max=1, help="of the second; default: the best of several on valid")
    ] = None,
) -> None:
    """Try shares of the second checkpoint from 0 to 1, and keep the mean with the best validation score."""
    spec, console = load_spec(model), Console()
    shares = SHARES if share is None else (share,)
    scores = {part: _valid_score(spec, mean_of(spec, first, second, part)) for part in shares}
    table = Table("share of the second", f"{spec.score_name} (valid)")
    for part, score in scores.items():
        table.add_row(f"{part:.1f}", f"{score:.4f}")
    console.print(table)
    best = max(scores, key=lambda part: (scores[part], -abs(part - 0.5)))
    console.print(f"checkpoint: {write_mean(spec, (first, second), best, scores[best], out)}")


def mean_of(spec: ModelSpec, first: Path, second: Path, share: float) -> nn.Module:
    """Return a module with the mean of the weights and norm statistics of both, built like the second.

    Raises:
        CheckpointError: a file cannot be read, or the two differ in a shape.
    """
    (older, _), (module, _) = load_checkpoint(spec, first), load_checkpoint(spec, second)
    others, weights = older.state_dict(), module.state_dict()
    odd = next((name for name in others if weights[name].shape != others[name].shape), None)
    if odd is not None:
        raise CheckpointError(f"{second} cannot be averaged with {first}: {odd!r} has another shape")
    for name, tensor in weights.items():
        other = others[name].to(tensor.dtype)
        tensor.copy_(other.lerp(tensor, share) if tensor.is_floating_point() else other)
    return module


def write_mean(spec: ModelSpec, pair: tuple[Path, Path], share: float, score: float, out: Path) -> Path:
    """Score the mean on the test splits, and write it with a record of its validation score and both runs."""
    first, second = pair
    module = mean_of(spec, first, second, share)
    (_, card), (_, other) = load_checkpoint(spec, first), load_checkpoint(spec, second)
    options = other.config.get("model", {})
    spec = spec_of(spec, options)
    out.mkdir(parents=True, exist_ok=True)
    kept_of_run = ("command", "created", "run_id", "git_commit", "data_fingerprint")
    # A run of the first would repeat all runs before it, so only that it is one is written.
    of_first = other.parent == card
    averaged = {"share": share, "of_first": of_first, **{name: getattr(other, name) for name in kept_of_run}}
    kept = {name: value for name, value in card.metrics.items() if name.startswith("macs")}
    run = new_card(
        spec,
        module,
        command=command_line(),
        config={"model": options, "averaged_with": averaged},
        metrics={"valid/score": score, **score_splits(spec, module, out), **kept},
        pruning=card.pruning,
        macs=card.macs,
        parent=card,
        other=other.model_copy(update={"parent": None}) if of_first else other,
    )
    return save_checkpoint(out / spec.checkpoint(card.pruning).name, module, run)


def _valid_score(spec: ModelSpec, module: nn.Module) -> float:
    with torch.inference_mode():
        outputs, targets = evaluate(spec, module, prepared(spec, "valid"))
    return spec.score(outputs, targets)


if __name__ == "__main__":
    app()
