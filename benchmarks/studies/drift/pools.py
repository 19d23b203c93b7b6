"""The examples that drift is tried on: plain ones of groups, and the same or others after a shift."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich.progress import track

from lading.build.examples import BATCH_SIZE
from lading.content.image import CORRUPTIONS
from lading.drift.features import example_features
from lading.predictor import open_session
from lading.spec import Array, Dataset, Example, ModelSpec
from lading.tensors.checks import check_inputs
from lading.tensors.ragged import collate, split
from models.card_decks import FreshDecks
from models.molecule_graphs.generated import generated
from models.molecule_graphs.molecule_split import ScaffoldSplit

Inputs = Mapping[str, Array]
Change = Callable[[Inputs, np.random.Generator], Inputs]
Shifts = dict[str, Change]
H, F, AROMATIC = 0, 4, 6
"""Columns of ``node_features``."""


@dataclass(frozen=True)
class Pool:
    """Features of examples, and what each belongs to."""

    examples: list[dict[str, Array]]
    groups: list[Hashable]


@dataclass(frozen=True)
class Pools:
    """Plain examples, from which references and live requests are drawn, and others after each shift."""

    plain: Pool
    shifted: dict[str, Pool]
    of_a_group: int
    """Examples that a reference takes of one group, at most."""
    halved: Literal["groups", "examples"]
    """What is parted into those that a reference may take and those that live requests are of."""


def card_pools(spec: ModelSpec, graph: Path, decks: int, *, photos: int = 20) -> Pools:
    """Photographs of decks of the training families, none of which training saw; each shift on 40 further decks."""
    further = FreshDecks(40, 10, first=decks)
    shifts: Shifts = {
        f"{kind}, severity {severity}": _corrupt(kind, severity)
        for kind, severities in (
            ("darker", (1, 2)),
            ("brighter", (1, 2)),
            ("blur", (1, 2, 3)),
            ("JPEG", (3, 5)),
            ("noise", (1, 2)),
            ("less colour", (2,)),
        )
        for severity in severities
    }
    shifts["wider lens"] = _new_lens
    fresh = FreshDecks(decks, photos)
    return Pools(
        plain=_pool(spec, graph, "plain", _grouped(fresh)),
        shifted={name: _pool(spec, graph, name, _grouped(further), change) for name, change in shifts.items()}
        | {"decks of held-out styles": _pool(spec, graph, "held-out styles", _held_out(spec))},
        of_a_group=10,
        halved="groups",
    )


def molecule_pools(spec: ModelSpec, graph: Path, count: int) -> Pools:
    """Molecules of training's scaffolds, as they come; shifts are others, or the same ones written wrongly."""
    known = list(_grouped(generated("train", count)))
    plain, other = known[::4], known[1::8]

    def only(wanted: Callable[[Array], bool]) -> list[tuple[Example, Hashable]]:
        return [pair for pair in other if wanted(pair[0][0]["node_features"])]

    kinds = {
        "scaffolds that training never saw": list(_grouped(generated("test", count)))[::4],
        "aromatic scaffolds alone": only(lambda rows: bool(rows[:, AROMATIC].any())),
        "no aromatic scaffolds": only(lambda rows: not rows[:, AROMATIC].any()),
        "heavier atoms: with fluorine": only(lambda rows: bool(rows[:, F].any())),
        "smaller: up to 6 heavy atoms": only(lambda rows: (rows[:, H] == 0).sum() <= 6),
    }
    wrong: Shifts = {"hydrogens left out": _without_hydrogens, "aromatic atoms not marked": _unmarked}
    shifted = {name: _pool(spec, graph, name, examples) for name, examples in kinds.items()}
    shifted |= {name: _pool(spec, graph, name, other[::4], change) for name, change in wrong.items()}
    return Pools(plain=_pool(spec, graph, "plain", plain), shifted=shifted, of_a_group=1000, halved="examples")


def _grouped(dataset: FreshDecks | ScaffoldSplit) -> Iterator[tuple[Example, Hashable]]:
    return ((dataset[index], dataset.group(index)) for index in range(len(dataset)))


def _held_out(spec: ModelSpec) -> Iterator[tuple[Example, Hashable]]:
    dataset: Dataset = spec.dataset("test")
    return ((dataset[index], index // 106) for index in range(0, len(dataset), 5))


def _pool(
    spec: ModelSpec,
    graph: Path,
    name: str,
    examples: Iterable[tuple[Example, Hashable]],
    change: Change | None = None,
) -> Pool:
    session = open_session(graph)
    names = [tensor.name for tensor in spec.outputs]
    rng = np.random.default_rng(0)
    found: list[dict[str, Array]] = []
    groups: list[Hashable] = []
    for batch in track(list(_batches(examples)), name, transient=True):
        given = [example[0] if change is None else change(example[0], rng) for example, _ in batch]
        outputs = dict(zip(names, session.run(names, collate(spec.inputs, given)), strict=True))
        counts = [check_inputs(spec.inputs, one, example=True) for one in given]
        for one, answered in zip(given, split(spec.outputs, outputs, counts), strict=True):
            found.append(example_features(spec.inputs, spec.outputs, one, answered))
        groups += [group for _, group in batch]
    return Pool(found, groups)


def _batches(
    examples: Iterable[tuple[Example, Hashable]],
) -> Iterator[Sequence[tuple[Example, Hashable]]]:
    waiting = []
    for pair in examples:
        waiting.append(pair)
        if len(waiting) == BATCH_SIZE:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _corrupt(kind: str, severity: int) -> Change:
    def change(given: Inputs, rng: np.random.Generator) -> Inputs:
        return {name: CORRUPTIONS[kind](array, severity, rng) for name, array in given.items()}

    return change


def _new_lens(given: Inputs, _: np.random.Generator) -> Inputs:
    """Barrel distortion, and corners darker by up to a quarter."""

    def bend(array: Array) -> Array:
        height, width = array.shape[:2]
        y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
        radius = x**2 + y**2
        rows = np.clip(((y * (1 + 0.18 * radius)) + 1) / 2 * (height - 1), 0, height - 1).astype(int)
        columns = np.clip(((x * (1 + 0.18 * radius)) + 1) / 2 * (width - 1), 0, width - 1).astype(int)
        return np.asarray((array[rows, columns] * (1 - 0.25 * radius[..., None] / 2)).astype(np.uint8))

    return {name: bend(array) for name, array in given.items()}


def _without_hydrogens(given: Inputs, _: np.random.Generator) -> Inputs:
    """As a client does that forgets to add them, but for the count of each atom's hydrogens."""
    rows, edges = given["node_features"], given["edge_index"]
    heavy = rows[:, H] == 0
    number = np.cumsum(heavy) - 1
    kept = heavy[edges].all(axis=0)
    return {"node_features": rows[heavy], "edge_index": number[edges[:, kept]].astype(np.int64)}


def _unmarked(given: Inputs, _: np.random.Generator) -> Inputs:
    rows = given["node_features"].copy()
    rows[:, AROMATIC] = 0
    return {"node_features": rows, "edge_index": given["edge_index"]}
