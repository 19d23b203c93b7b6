"""The newest requests as histograms that can be merged, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lading.drift.distances import TESTS, Test
from lading.drift.reference import Reference
from lading.drift.sketch import mmd
from lading.spec import Array

BLOCKS = 5
"""Blocks in a window. When a new block is full, the oldest is dropped and scores are computed."""
LEAST_BLOCKS = 4
"""Minimum number of blocks for an estimate of how requests cluster."""
JOINT = "joint"
"""Name of the score of all features together."""


@dataclass(frozen=True, slots=True)
class Score:
    """One distance between the window and the reference."""

    feature: str
    test: Test
    value: float
    threshold: float
    p_value: float

    @property
    def drifted(self) -> bool:
        return self.value > self.threshold


@dataclass(slots=True)
class Block:
    """Histograms and sketch of some requests."""

    histograms: dict[str, NDArray[np.int64]]
    sketch: NDArray[np.float64]
    requests: int = 0

    def add(self, reference: Reference, example: Mapping[str, Array]) -> None:
        """Count one request's features (:func:`lading.drift.reference.example_features`)."""
        for name, feature in reference.features.items():
            if name in example:
                self.histograms[name] += feature.histogram(example[name])
        if reference.joint is not None:
            self.sketch += reference.joint.features(reference.vector(example)[None])[0]
        self.requests += 1

    def merge(self, other: Block) -> Block:
        """Sum of both."""
        merged = {name: counts + other.histograms[name] for name, counts in self.histograms.items()}
        return Block(merged, self.sketch + other.sketch, self.requests + other.requests)


@dataclass(slots=True)
class Window:
    """The newest requests of one model.

    Args:
        reference: statistics that they are compared with.
        size: requests in a full window.
    """

    reference: Reference
    size: int
    _full: deque[Block] = field(init=False)
    _filling: Block = field(init=False)

    def __post_init__(self) -> None:
        self._full = deque(maxlen=BLOCKS)
        self._filling = empty_block(self.reference)

    @property
    def requests(self) -> int:
        """Number of requests now: at most ``size`` plus one block."""
        return sum(block.requests for block in self._full) + self._filling.requests

    def add(self, example: Mapping[str, Array]) -> bool:
        """Count the features of one request. Returns True if this completes a block."""
        block = self._filling
        block.add(self.reference, example)
        if block.requests < -(-self.size // BLOCKS):
            return False
        self._full.append(block)
        self._filling = empty_block(self.reference)
        return True

    def blocks(self, newest: int | None = None) -> list[Block]:
        """Copies of all blocks, newest first; with ``newest``, only as many as hold that number of requests."""
        found: list[Block] = []
        for block in (self._filling, *reversed(self._full)):
            if newest is not None and sum(one.requests for one in found) >= newest:
                break
            found.append(block.merge(empty_block(self.reference)))
        return found

    @property
    def complete(self) -> bool:
        """Whether the window is full."""
        return len(self._full) == BLOCKS


def scores_of(reference: Reference, blocks: Sequence[Block], alarms: float) -> Iterator[Score]:
    """Compute every distance to the reference, with its threshold.

    Args:
        reference: statistics that the requests are compared with.
        blocks: the requests. Each block has requests that came one after another.
        alarms: probability of at least one false alarm in one evaluation, over all scores together.
    """
    total = merged(reference, blocks)
    if not total.requests:
        return
    sizes: dict[str, Any] = {
        "window": total.requests / excess_clustering(reference, blocks),
        "examples": reference.examples,
    }
    # Bonferroni: with n tests, each gets a share of 1/n of the false alarms.
    alarm = alarms / max(1, sum(len(feature.null) for feature in reference.features.values()) + 1)
    for name, feature in reference.features.items():
        counts = total.histograms[name]
        if not counts.sum():
            continue
        shares = np.asarray(feature.shares), counts / counts.sum()
        for test, distance in TESTS[feature.kind].items():
            null = feature.null.get(test)
            if null is not None:
                value = distance(*shares)
                yield Score(name, test, value, null.threshold(alarm, **sizes), null.p_value(value, **sizes))
    if reference.joint is not None and reference.joint_null is not None:
        value = mmd(np.asarray(reference.joint.sketch), total.sketch / total.requests)
        null = reference.joint_null
        yield Score(JOINT, "mmd", value, null.threshold(alarm, **sizes), null.p_value(value, **sizes))


def excess_clustering(reference: Reference, blocks: Sequence[Block]) -> float:
    """Design effect of live requests, divided by that of the reference; at least 1.

    Requests that arrive together are often alike: many pictures from one client, for example. The window then holds
    less information than its number of requests suggests, and the thresholds must allow for that.
    """
    # The server does not know which requests belong together. But if neighbours are alike, the means of blocks differ
    # by more than the means of independent requests would. Kish's design effect is that ratio of variances: between
    # blocks (times their size) over within requests.
    blocks = [block for block in blocks if block.requests]
    if reference.joint is None or len(blocks) < LEAST_BLOCKS:
        return 1.0
    sizes = np.array([block.requests for block in blocks], dtype=np.float64)
    means = np.stack([block.sketch for block in blocks]) / sizes[:, None]
    centre = (sizes[:, None] * means).sum(axis=0) / sizes.sum()
    between = float((sizes * ((means - centre) ** 2).sum(axis=1)).sum()) / (len(blocks) - 1)
    # The random Fourier features of one request are a vector of length 1.
    within = 1 - float((centre * centre).sum())
    return max(1.0, between / max(within, 1e-9) / reference.design_effect)


def merged(reference: Reference, blocks: Sequence[Block]) -> Block:
    """Sum of all blocks."""
    total = empty_block(reference)
    for block in blocks:
        total = total.merge(block)
    return total


def empty_block(reference: Reference) -> Block:
    """A block without requests."""
    histograms = {name: np.zeros(len(feature.shares), dtype=np.int64) for name, feature in reference.features.items()}
    return Block(histograms, np.zeros(len(reference.joint.sketch) if reference.joint else 0))
