"""Streams of requests as clients send them: each sends some examples of one group, several clients at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lading.drift.reference import Reference
from lading.drift.window import Block
from lading.spec import Array


@dataclass(frozen=True)
class Traffic:
    """How requests come.

    Args:
        visit: examples of one group that one client sends, one after another.
        clients: that send at the same time.
    """

    visit: int
    clients: int = 4

    def __str__(self) -> str:
        return "independent" if self.visit == 1 else f"{self.visit} a visit"

    def draw(self, groups: Sequence[Hashable], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Indexes of the examples in a stream of ``count`` requests; ``groups`` says what each example belongs to."""
        members: dict[Hashable, list[int]] = {}
        for index, group in enumerate(groups):
            members.setdefault(group, []).append(index)
        # A group is visited as often as its share of the examples says.
        visits = [
            list(order[start : start + self.visit])
            for order in (rng.permutation(one) for one in members.values())
            for start in range(0, len(order), self.visit)
        ]
        return np.fromiter(self._interleaved(visits, rng), dtype=np.intp, count=count)

    def _interleaved(self, visits: Sequence[list[int]], rng: np.random.Generator) -> Iterator[int]:
        waiting: list[list[int]] = [[] for _ in range(self.clients)]
        while True:
            for client in rng.integers(self.clients, size=1000):
                if not waiting[client]:
                    waiting[client] = list(visits[int(rng.integers(len(visits)))])
                yield int(waiting[client].pop())


class Counts:
    """Every example's histograms and sketch as one row, so that a window is a sum of rows.

    Args:
        reference: whose bins they are counted into.
        examples: features by name (:func:`lading.drift.reference.example_features`).
    """

    def __init__(self, reference: Reference, examples: Sequence[dict[str, Array]]) -> None:
        assert reference.joint is not None
        self.widths = {name: len(feature.shares) for name, feature in reference.features.items()}
        rows = [
            np.concatenate([feature.histogram(example[name]) for name, feature in reference.features.items()])
            for example in examples
        ]
        sketches = reference.joint.features(np.stack([reference.vector(example) for example in examples]))
        self.rows = np.concatenate([np.stack(rows), sketches], axis=1)

    def block(self, indexes: NDArray[np.intp]) -> Block:
        """The sums over some examples, as the server keeps them."""
        total = self.rows[indexes].sum(axis=0)
        ends = np.cumsum(list(self.widths.values()))
        parts = np.split(total, ends)
        histograms = {name: part.round().astype(np.int64) for name, part in zip(self.widths, parts, strict=False)}
        return Block(histograms, parts[-1], len(indexes))
