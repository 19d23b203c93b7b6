"""What no server can exceed: decoding and running in process, on the server's own core."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lading.artifact import Artifact
from lading.predictor import Predictor
from lading.serve.classify import Classifier, classifier


def pipe_limit(artifact: Path, photo: Path, seconds: float, core: int) -> float:
    """L_pipe: pictures a second from bytes in memory to probabilities, one thread on one core."""
    os.sched_setaffinity(0, {core})
    loaded = Artifact.load(artifact)
    how = classifier(loaded)
    assert isinstance(how, Classifier)
    predictor, data = Predictor(loaded), photo.read_bytes()
    return _rate(lambda: predictor(how.decode(data, 50_000_000)), seconds)


def model_limit(artifact: Path, seconds: float, core: int) -> float:
    """L_model: runs a second of the first golden row, one thread on one core."""
    os.sched_setaffinity(0, {core})
    loaded = Artifact.load(artifact)
    predictor = Predictor(loaded)
    row = {name: array[:1] for name, array in loaded.golden_inputs().items()}
    return _rate(lambda: predictor.run(row), seconds)


def _rate(call: object, seconds: float) -> float:
    assert callable(call)
    for _ in range(50):
        call()
    begin, count = time.perf_counter(), 0
    while (now := time.perf_counter()) < begin + seconds:
        call()
        count += 1
    return count / (now - begin)
