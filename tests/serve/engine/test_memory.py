"""Memory stays flat over mixed sizes: the session's arena is bounded by the largest run."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lading.artifact import Artifact
from lading.predictor import Predictor


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_memory_is_flat_over_mixed_sizes(small: dict[str, Artifact]) -> None:
    predictor = Predictor(small["colour"])
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3000, 16, 16, 3), dtype=np.uint8)

    def mixed() -> None:
        for rows in rng.integers(1, 3000, 40):
            predictor.run({"image": pixels[:rows]})

    mixed()
    before = resident_mb()
    for _ in range(4):
        mixed()
    assert resident_mb() < before + 30
