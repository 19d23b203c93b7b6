"""What a run takes, it gives back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lading.artifact import Artifact
from lading.predictor import Predictor


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_a_large_run_gives_its_memory_back(small: dict[str, Artifact]) -> None:
    predictor = Predictor(small["colour"])
    many = {"image": np.full((20_000, 16, 16, 3), 7, np.uint8)}  # 61 MB as float32, several times
    for _ in range(2):  # the second plans its memory as one block
        expected = predictor.run(many)["shade"]
    kept = resident_mb()
    assert np.array_equal(predictor.run(many, large=True)["shade"], expected)
    assert resident_mb() < kept - 40
