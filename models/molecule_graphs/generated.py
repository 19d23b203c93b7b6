"""Molecules made up by valence rules: the data set that needs no download."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from rdkit import Chem
from rich.progress import track

from models.molecule_graphs.features import graph
from models.molecule_graphs.molecule_split import ScaffoldSplit, check_split
from models.molecule_graphs.packed import Graph, PackedGraphs, cache_root
from models.molecule_graphs.properties import COMPUTED, compute
from models.molecule_graphs.sample import sample
from models.molecule_graphs.scaffolds import scaffold, split_of

CHUNK = 500
"""Molecules drawn from one seed: the work of one process at a time."""
RECIPE = 1
"""Counted up whenever this package makes other molecules, features or properties than before: a test notices it."""
T = TypeVar("T")


def generated(
    split: str, count: int, *, seed: int = 0, cache: Path | None = None, workers: int | None = None
) -> ScaffoldSplit:
    """Molecules of one split, out of ``count`` different ones in all.

    The same seed gives the same molecules everywhere, and fewer of them are the first of more. No scaffold is in two
    splits. They are made the first time, with a progress bar, and kept in one file.

    Args:
        split: ``train``, ``valid`` or ``test``.
        count: molecules of all splits.
        seed: another seed is another set.
        cache: folder of the file; default: below ``LADING_DATA`` or ``~/.cache/lading``.
        workers: processes that make them; default: one a usable CPU.

    Raises:
        DataError: there is no such split, or the file is torn.
    """
    check_split(split)
    made_by = [RECIPE, *(metadata.version(package) for package in ("rdkit", "numpy"))]
    fingerprint = hashlib.sha256(f"{made_by} {count} {seed}".encode()).hexdigest()
    path = (cache or cache_root() / "molecules-generated") / f"{count}-{seed}-{fingerprint[:12]}.npz"
    graphs = _load(path, count, seed, workers or len(os.sched_getaffinity(0)))
    members = _members(path, split, seed)
    return ScaffoldSplit(graphs, graphs.targets, tuple(COMPUTED), members, fingerprint, scaffolds=_load_scaffolds(path))


@lru_cache(maxsize=4)
def _load(path: Path, count: int, seed: int, workers: int) -> PackedGraphs:
    if not path.is_file():
        make(count, seed, workers).save(path)
    return PackedGraphs.load(path)


@lru_cache(maxsize=16)
def _members(path: Path, split: str, seed: int) -> NDArray[np.int64]:
    splits = [split_of(name, seed) for name in _load_scaffolds(path)]
    return np.flatnonzero(np.array(splits) == split)


@lru_cache(maxsize=4)
def _load_scaffolds(path: Path) -> list[str]:
    return [scaffold(Chem.MolFromSmiles(name)) for name in PackedGraphs.load(path).names]


def make(count: int, seed: int, workers: int) -> PackedGraphs:
    """Draw molecules until ``count`` different ones are there, then compute their graphs and properties."""
    unique: dict[str, None] = {}
    first = 0
    while len(unique) < count:
        chunks = range(first, first + max(1, (count - len(unique)) // CHUNK + 1))
        for drawn in _parallel(draw, [(seed, chunk) for chunk in chunks], workers, "drawing molecules"):
            unique.update(dict.fromkeys(drawn))
        first = chunks.stop
    names = list(unique)[:count]
    parts = [(names[start : start + CHUNK],) for start in range(0, count, CHUNK)]
    done = [entry for part in _parallel(describe, parts, workers, "computing their properties") for entry in part]
    return PackedGraphs.of([entry[0] for entry in done], np.stack([entry[1] for entry in done]), names)


def draw(seed: int, chunk: int) -> list[str]:
    """Canonical SMILES, perhaps some of them more than once."""
    rng = np.random.default_rng([seed, chunk])
    return [smiles for smiles in (sample(rng) for _ in range(CHUNK)) if smiles]


def describe(names: list[str]) -> list[tuple[Graph, NDArray[np.float64]]]:
    """Graph and properties of each molecule."""
    molecules = [Chem.MolFromSmiles(name) for name in names]
    return [(graph(Chem.AddHs(molecule)), compute(molecule)) for molecule in molecules]


def _parallel(call: Callable[..., T], jobs: Sequence[tuple[object, ...]], workers: int, label: str) -> Iterable[T]:
    if workers == 1 or len(jobs) <= 4:
        return track((call(*job) for job in jobs), label, total=len(jobs))
    # loky's processes start afresh: the parent may hold threads of torch, and its script may have no main guard.
    pool = Parallel(n_jobs=min(workers, len(jobs)), backend="loky", return_as="generator")
    return track(pool(delayed(call)(*job) for job in jobs), label, total=len(jobs))
