"""Many graphs and their targets in one file, read whole: 40,000 molecules are about 20 MB."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lading.errors import DataError
from lading.files import write_atomically

Graph = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class PackedGraphs:
    """Graphs by number. ``targets`` is float64 (graphs, properties), ``names`` the name of each graph (SMILES)."""

    node_features: NDArray[np.uint8]
    edge_index: NDArray[np.int16]
    node_ends: NDArray[np.int64]
    edge_ends: NDArray[np.int64]
    targets: NDArray[np.float64]
    names: NDArray[np.str_]

    @classmethod
    def of(cls, graphs: Sequence[Graph], targets: NDArray[np.float64], names: Sequence[str]) -> PackedGraphs:
        """Pack graphs; every feature is a whole number from 0 to 255."""
        return cls(
            np.concatenate([features for features, _ in graphs]).astype(np.uint8),
            np.concatenate([edges for _, edges in graphs], axis=1).astype(np.int16),
            np.cumsum([len(features) for features, _ in graphs]),
            np.cumsum([edges.shape[1] for _, edges in graphs]),
            targets,
            np.array(names, dtype=np.str_),
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Graph:
        node, edge = (int(ends[index - 1]) if index else 0 for ends in (self.node_ends, self.edge_ends))
        features = self.node_features[node : self.node_ends[index]].astype(np.float32)
        return features, self.edge_index[:, edge : self.edge_ends[index]].astype(np.int64)

    def save(self, path: Path) -> None:
        """Write the file, or replace it as a whole."""

        def write(unfinished: Path) -> None:
            with unfinished.open("wb") as stream:
                np.savez_compressed(stream, allow_pickle=False, **vars(self))

        write_atomically(path, write)

    @classmethod
    def load(cls, path: Path) -> PackedGraphs:
        """Read a file. Raises DataError if it is corrupt."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays: dict[str, Any] = {name: archive[name] for name in archive.files}
            return cls(**arrays)
        except (OSError, ValueError, TypeError, EOFError, KeyError) as error:
            raise DataError(f"{path} cannot be read ({error}): delete it, and it will be made again") from None


def cache_root() -> Path:
    """The folder of data sets: ``LADING_DATA``, else ``~/.cache/lading``."""
    return Path(os.environ.get("LADING_DATA") or Path.home() / ".cache" / "lading")
