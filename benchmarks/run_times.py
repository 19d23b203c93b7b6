"""CPU time of a run of a graph on the thread that calls it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import onnxruntime as ort

from lading.spec import Array


def run_milliseconds(session: ort.InferenceSession, inputs: Mapping[str, Array], rounds: int) -> float:
    """Median of ``2 * rounds + 1`` runs, after one that does not count."""
    session.run(None, dict(inputs))
    taken = []
    for _ in range(2 * rounds + 1):
        begin = time.thread_time()
        session.run(None, dict(inputs))
        taken.append(1e3 * (time.thread_time() - begin))
    return statistics.median(taken)
