"""The interface of both data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lading.errors import DataError
from lading.spec import Example
from models.molecule_graphs.packed import Graph
from models.molecule_graphs.properties import Property

SPLITS = ("train", "valid", "test")


class Graphs(Protocol):
    """Graphs by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Graph: ...


class MoleculeSplit:
    """Molecules of one split.

    Args:
        graphs: of all splits.
        targets: float64 (graphs, properties).
        properties: what the columns of ``targets`` are.
        members: int64 (n,): the graphs of this split.
        fingerprint: SHA-256 of what decides the data.
    """

    def __init__(
        self,
        graphs: Graphs,
        targets: NDArray[np.float64],
        properties: Sequence[Property],
        members: NDArray[np.int64],
        fingerprint: str,
    ) -> None:
        self._graphs, self._targets, self.members = graphs, targets, members
        self.properties, self.fingerprint = tuple(properties), fingerprint

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int) -> Example:
        """Inputs ``node_features`` float32 (nodes, 11), ``edge_index`` int64 (2, edges); a float32 scalar a target."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(self.members[index])
        features, edges = self._graphs[number]
        values = self._targets[number].astype(np.float32)
        targets = {prop.name: value for prop, value in zip(self.properties, map(np.asarray, values), strict=True)}
        return {"node_features": features, "edge_index": edges}, targets

    @property
    def targets(self) -> NDArray[np.float64]:
        """float64 (n, properties)."""
        return self._targets[self.members]

    def statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each property over this split, summed in float64; a constant has 1."""
        deviation = self.targets.std(axis=0)
        return self.targets.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


class ScaffoldSplit(MoleculeSplit):
    """Molecules with their scaffolds.

    Args:
        scaffolds: of all graphs.
    """

    def __init__(self, *args: Any, scaffolds: Sequence[str]) -> None:
        super().__init__(*args)
        self._scaffolds = scaffolds

    def group(self, index: int) -> str:
        """The scaffold. Molecules with the same one are alike, and a chemist sends many of them together."""
        return self._scaffolds[int(self.members[index])]


def check_split(split: str) -> None:
    """Raises DataError if the split does not exist."""
    if split not in SPLITS:
        raise DataError(f"the molecules have no split {split!r}; the splits are: {', '.join(SPLITS)}")
