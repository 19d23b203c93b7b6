"""How the score falls when inputs are corrupted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from pydantic import Field
from rich.table import Table

from lading.build.examples import spread
from lading.build.verify.scores import answer_split
from lading.content import Corrupt, content_of
from lading.errors import DataError
from lading.predictor import open_session
from lading.progress import progress_bars
from lading.spec import Array, Evaluated, Example, Frozen, TensorSpec

EXAMPLES = 200
"""Examples of the first test split per corruption and severity. A share then has a standard error of 0.035."""


class ShiftScores(Frozen):
    """One variant's score under each corruption."""

    model: str
    variant: str
    score_name: str
    examples: int
    clean: float
    scores: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """By corruption, one score per severity, 1 to 5."""

    def table(self) -> Table:
        """Table of the scores, the most harmful corruption first."""
        title = f"{self.model} {self.variant}: {self.score_name} {self.clean:.3f} on {self.examples} clean examples"
        shown = Table("corruption", title=title)
        for severity in SEVERITIES:
            shown.add_column(f"severity {severity}", justify="right")
        shown.add_column("mean", justify="right")
        for name, scores in sorted(self.scores.items(), key=lambda entry: float(np.mean(entry[1]))):
            shown.add_row(name, *(f"{score:.3f}" for score in scores), f"{np.mean(scores):.3f}")
        return shown


def score_shift(spec: Evaluated, graph: Path, variant: str, out: Path) -> ShiftScores:
    """Score a variant under every corruption that suits its inputs, and write ``shift.json`` and ``shift.svg``.

    Args:
        spec: the model; examples come from its first test split.
        graph: the variant's ONNX file.
        variant: its name.
        out: folder to write to.

    Raises:
        DataError: the model has only indexes and flags as inputs, which cannot be corrupted.
    """
    examples = spread(spec.dataset(spec.test_splits[0]), EXAMPLES)
    kinds = corruptions_of(spec.inputs, [given for given, _ in examples])
    if not kinds:
        raise DataError(f"{spec.name} has no input of encoded files or numbers, so there is nothing to corrupt")
    session = open_session(graph)
    with progress_bars() as progress:
        task = progress.add_task("shifted inputs", total=len(examples) * (1 + len(kinds) * len(SEVERITIES)))

        def advance(count: int) -> None:
            progress.advance(task, count)

        clean = _score(spec, session, examples, advance)
        scores = {
            name: tuple(
                _score(spec, session, list(_corrupted(spec, examples, changes, severity)), advance)
                for severity in SEVERITIES
            )
            for name, changes in kinds.items()
        }
    found = ShiftScores(
        model=spec.name,
        variant=variant,
        score_name=spec.score_name,
        examples=len(examples),
        clean=clean,
        scores=scores,
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "shift.json").write_text(json.dumps(found.model_dump(mode="json"), indent=2) + "\n")
    _plot(found, out / "shift.svg")
    return found


def _corrupted(
    spec: Evaluated, examples: list[Example], changes: Mapping[str, Corrupt], severity: int
) -> Iterator[Example]:
    tensors = {tensor.name: tensor for tensor in spec.inputs}
    for index, (given, target) in enumerate(examples):
        rng = np.random.default_rng((index, severity))
        changed = {
            name: within_limits(tensors[name], change(given[name], severity, rng)) for name, change in changes.items()
        }
        yield {**given, **changed}, target


def _score(
    spec: Evaluated, session: ort.InferenceSession, examples: list[Example], advance: Callable[[int], None]
) -> float:
    answers = answer_split(spec, {"": session}, examples, None, advance)
    return float(spec.score(answers.outputs[""], answers.targets))


def _plot(found: ShiftScores, file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, scores in sorted(found.scores.items()):
        axes.plot((0, *SEVERITIES), (found.clean, *scores), marker="o", markersize=3, label=name)
    axes.set(xlabel="severity (0: clean)", ylabel=found.score_name, title=f"{found.model} {found.variant}")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    figure.savefig(file)
    plt.close(figure)


SEVERITIES = (1, 2, 3, 4, 5)


_GONE = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Share of the values that are missing, by severity."""


def _numbers(scale: Array, gap: float = 0.0) -> Mapping[str, Corrupt]:
    """Corruptions of a tensor of numbers.

    Args:
        scale: standard deviation of each column.
        gap: what stands for a missing value.
    """

    def noise(array: Array, severity: int, rng: np.random.Generator) -> Array:
        sigma = scale * (0.05, 0.1, 0.2, 0.4, 0.8)[severity - 1]
        return _as_before(np.asarray(array), array + rng.normal(0, 1, np.shape(array)) * sigma)

    def larger(array: Array, severity: int, _: np.random.Generator) -> Array:
        return _as_before(np.asarray(array), array * (1.05, 1.1, 1.2, 1.5, 2.0)[severity - 1])

    def missing(array: Array, severity: int, rng: np.random.Generator) -> Array:
        gone = rng.random(np.shape(array)) < _GONE[severity - 1]
        return _as_before(np.asarray(array), np.where(gone, gap, array))

    return {"noise": noise, "larger": larger, "missing": missing}


def _categories(unknown: int) -> Mapping[str, Corrupt]:
    """Codes have no noise and no scale; a share of them is not known."""

    def missing(array: Array, severity: int, rng: np.random.Generator) -> Array:
        gone = rng.random(np.shape(array)) < _GONE[severity - 1]
        return _as_before(np.asarray(array), np.where(gone, unknown, array))

    return {"missing": missing}


def _as_before(array: Array, changed: Array) -> Array:
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        changed = np.clip(np.rint(changed), limits.min, limits.max)
    return np.asarray(changed).astype(array.dtype)


def corruptions_of(
    specs: Sequence[TensorSpec], examples: Sequence[Mapping[str, Array]]
) -> dict[str, dict[str, Corrupt]]:
    """The corruptions that suit a model: by name, the function for each input that it changes.

    Args:
        specs: the model's inputs; encoded content and numbers are changed; indexes and flags are not.
        examples: some inputs, for the scale of noise.
    """
    found: dict[str, dict[str, Corrupt]] = {}
    for spec in specs:
        content = content_of(spec)
        if content is not None:
            kinds = content.corruptions
        elif spec.categories is not None:
            kinds = {} if spec.unknown is None else _categories(spec.unknown)
        elif spec.numpy_dtype.kind in "iuf" and not spec.indexes and not spec.optional:
            arrays = [np.atleast_1d(example[spec.name]) for example in examples]
            rows = np.concatenate([array.reshape(-1, array.shape[-1]) for array in arrays])
            scale = np.nanstd(rows, axis=0).reshape(np.shape(examples[0][spec.name])[-1:])
            kinds = _numbers(scale, np.nan if spec.missing else 0.0)
        else:
            continue
        for name, corrupt in kinds.items():
            found.setdefault(name, {})[spec.name] = corrupt
    return found


def within_limits(spec: TensorSpec, array: Array) -> Array:
    """Clip a corrupted tensor to the range that the model accepts, as a client would."""
    if spec.minimum is None and spec.maximum is None:
        return array
    return np.clip(array, spec.minimum, spec.maximum).astype(array.dtype)
