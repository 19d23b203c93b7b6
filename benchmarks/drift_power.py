"""``python -m benchmarks.drift_power MODEL ARTIFACT``: how often drift is found, and how often it is imagined.

Windows are drawn from pools of examples that the model was not trained on: a plain one for false alarms, and one for
each shift. What counts is what the server's own code says of a window.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lading.artifact import Artifact
from lading.corruptions import PICTURES
from lading.drift.monitor import ALARMS
from lading.drift.window import empty_block, scores_of
from lading.examples import BATCH_SIZE, spread_indices
from lading.import_string import load_spec
from lading.predictor import Predictor
from lading.reference import Reference, example_features
from lading.spec import Array, Example, ModelSpec
from lading.tensors import check_inputs, collate, split

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console()
SIZES = (100, 200, 300, 500)
Change = Callable[[Mapping[str, Array], np.random.Generator], Mapping[str, Array]]


def picture_shift(kind: str, severity: int) -> Change:
    """A corruption of every picture input."""

    def change(given: Mapping[str, Array], rng: np.random.Generator) -> Mapping[str, Array]:
        return {name: PICTURES[kind](array, severity, rng) for name, array in given.items()}

    return change


def new_lens(given: Mapping[str, Array], _: np.random.Generator) -> Mapping[str, Array]:
    """A wider lens: barrel distortion and darker corners."""

    def bend(array: Array) -> Array:
        height, width = array.shape[:2]
        y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
        radius = x**2 + y**2
        rows = np.clip(((y * (1 + 0.18 * radius)) + 1) / 2 * (height - 1), 0, height - 1).astype(int)
        columns = np.clip(((x * (1 + 0.18 * radius)) + 1) / 2 * (width - 1), 0, width - 1).astype(int)
        return np.asarray((array[rows, columns] * (1 - 0.25 * radius[..., None] / 2)).astype(np.uint8))

    return {name: bend(array) for name, array in given.items()}


def shifts(spec: ModelSpec) -> dict[str, tuple[str, Change | None]]:
    """By name: the split that examples come from, and what is done to them."""
    plain = spec.test_splits[-1]
    found: dict[str, tuple[str, Change | None]] = {"none": (plain, None)}
    if spec.test_splits[0] != plain:
        found[f"split {spec.test_splits[0]}"] = (spec.test_splits[0], None)
    if all(tensor.content == "image" for tensor in spec.inputs):
        for kind, severity in (("darker", 1), ("darker", 2), ("brighter", 1), ("blur", 2), ("blur", 3), ("JPEG", 3)):
            found[f"{kind} {severity}"] = (plain, picture_shift(kind, severity))
        found["new lens"] = (plain, new_lens)
    return found


def pool(
    spec: ModelSpec, predictor: Predictor, name: str, change: Change | None, count: int
) -> Iterator[dict[str, Array]]:
    """The features of examples of a split, changed and answered."""
    dataset = spec.dataset(name)
    indices = spread_indices(len(dataset), count)
    rng = np.random.default_rng(0)
    for start in track(range(0, len(indices), BATCH_SIZE), description=name, console=console, transient=True):
        examples: list[Example] = [dataset[index] for index in indices[start : start + BATCH_SIZE]]
        given = [example[0] if change is None else change(example[0], rng) for example in examples]
        outputs = predictor.run(collate(spec.inputs, given))
        counts = [check_inputs(spec.inputs, one, example=True) for one in given]
        for one, answered in zip(given, split(spec.outputs, outputs, counts), strict=True):
            yield example_features(spec.inputs, spec.outputs, one, answered)


def alarm_rate(
    reference: Reference, examples: list[dict[str, Array]], size: int, windows: int, rng: np.random.Generator
) -> tuple[float, dict[str, int]]:
    """The share of windows with an alarm, and how many alarms each feature gave."""
    features: dict[str, int] = {}
    alarmed = 0
    for _ in range(windows):
        block = empty_block(reference)
        for index in rng.integers(len(examples), size=size):
            block.add(reference, examples[index])
        drifted = {score.feature for score in scores_of(reference, block, ALARMS) if score.drifted}
        alarmed += bool(drifted)
        for feature in drifted:
            features[feature] = features.get(feature, 0) + 1
    return alarmed / windows, features


@app.command()
def main(
    model: Annotated[str, typer.Argument(help="file.py:Class")],
    artifact: Annotated[Path, typer.Argument(help="its artifact, with the reference to test")],
    windows: Annotated[int, typer.Option(help="drawn for each shift and size")] = 40,
    examples: Annotated[int, typer.Option(help="in each pool")] = 1000,
    out: Annotated[Path | None, typer.Option(help="JSON file to write")] = None,
) -> None:
    """Print a table: share of windows with an alarm, by shift and requests in the window."""
    spec, packed = load_spec(model), Artifact.load(artifact)
    reference, predictor = Reference.from_json(packed.reference_json()), Predictor(packed)
    rng = np.random.default_rng(1)
    shown = Table("shift", *(f"{size} requests" for size in SIZES), "found by")
    rows: dict[str, list[float]] = {}
    for name, (split_name, change) in shifts(spec).items():
        found = list(pool(spec, predictor, split_name, change, examples))
        rates = [alarm_rate(reference, found, size, windows, rng) for size in SIZES]
        rows[name] = [rate for rate, _ in rates]
        by = sorted(rates[-1][1], key=lambda feature: -rates[-1][1][feature])[:4]
        shown.add_row(name, *(f"{rate:.2f}" for rate in rows[name]), ", ".join(by))
    console.print(shown)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"model": spec.name, "sizes": SIZES, "rates": rows}, indent=1) + "\n")


if __name__ == "__main__":
    app()
