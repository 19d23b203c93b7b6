"""``python -m models.molecule_graphs ARTIFACT``: errors of each property on unseen scaffolds, next to two guesses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from lading.artifact import Artifact
from lading.predictor import Predictor
from lading.tensors import collate
from models.molecule_graphs.generated import generated
from models.molecule_graphs.molecule_split import MoleculeSplit

BATCH = 64


def errors(
    artifact: Annotated[Path, typer.Argument(help="what `lading build` made")] = Path("artifacts/molecules"),
    count: Annotated[int, typer.Option(help="molecules of all splits, as many as it was trained on")] = 40_000,
    limit: Annotated[int, typer.Option(help="test molecules; 0: all")] = 0,
) -> None:
    """Print the mean absolute error of every variant, of the mean predictor, and of a linear regression."""
    train, test = generated("train", count), generated("test", count)
    rows = range(min(limit or len(test), len(test)))
    wanted = test.targets[: len(rows)]
    guesses = {
        "mean": np.broadcast_to(train.targets.mean(axis=0), wanted.shape),
        "linear": _linear(train, test, rows),
    }
    loaded = Artifact.load(artifact)
    for packed in loaded.manifest.variants:
        guesses[packed.variant.name] = _answers(Predictor(loaded, packed.variant.name), test, rows)
    table = Table("property", "unit", *guesses, title=f"mean absolute error, {len(rows)} molecules of unseen scaffolds")
    found = {name: np.abs(guess - wanted).mean(axis=0) for name, guess in guesses.items()}
    for column, prop in enumerate(test.properties):
        mean = found["mean"][column]
        cells = [f"{error[column]:.3g} ({error[column] / mean:.3f})" for error in found.values()]
        table.add_row(prop.name, prop.unit or "", *cells)
    Console(width=160).print(table)


def _linear(train: MoleculeSplit, test: MoleculeSplit, rows: range) -> NDArray[np.float64]:
    """Least squares on the sums of the atoms' features, the number of bonds, and a constant."""
    answer = np.linalg.lstsq(_sums(train, range(len(train))), train.targets, rcond=None)[0]
    return np.asarray(_sums(test, rows) @ answer)


def _sums(split: MoleculeSplit, rows: range) -> NDArray[np.float64]:
    graphs = [split[row][0] for row in rows]
    return np.array([[*g["node_features"].sum(axis=0), g["edge_index"].shape[1], 1.0] for g in graphs], np.float64)


def _answers(predictor: Predictor, test: MoleculeSplit, rows: range) -> NDArray[Any]:
    parts = []
    for start in range(0, len(rows), BATCH):
        given = [dict(test[row][0]) for row in rows[start : start + BATCH]]
        parts.append(np.stack(list(predictor(collate(predictor.inputs, given)).values()), axis=1))
    return np.concatenate(parts)


if __name__ == "__main__":
    typer.run(errors)
