"""What no server can exceed: decoding and running in process, on the server's own core."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.server.request_bodies import PHOTO
from lading.artifact import Artifact
from lading.budget import Budget
from lading.predictor import Predictor
from lading.protocol.describe import first_example
from lading.protocol.json_values import with_optional
from lading.protocol.plain import Classifier, classifier

Call = Callable[[], object]


class Limit:
    """A process on one core. It measures on request and sleeps otherwise.

    Args:
        model: ``cards``: L_pipe, from a photo's bytes in memory to probabilities. Others: L_model, the run alone.
        artifact: of the model.
        core: the first of the servers'.
    """

    def __init__(self, model: str, artifact: Path, core: int) -> None:
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), _prepare, (model, artifact, core))

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._pool.submit(os.getpid).result()

    def measure(self, seconds: float) -> float:
        """Calls per second, one after the other on one thread."""
        return self._pool.submit(_measure, seconds).result()


def pipe_call(artifact: Path) -> Call:
    """A picture from bytes to probabilities."""
    loaded = Artifact.load(artifact)
    how = classifier(loaded)
    assert isinstance(how, Classifier)
    predictor, data = Predictor(loaded), PHOTO.read_bytes()
    return lambda: predictor({how.input.name: how.content.decode(data, how.input, Budget())[None]})


def model_call(artifact: Path) -> Call:
    """A run of the first golden example, alone."""
    loaded = Artifact.load(artifact)
    predictor = Predictor(loaded)
    cut = first_example(loaded.manifest.inputs, loaded.golden_inputs())
    alone = with_optional(loaded.manifest.inputs, {name: array for name, (_, array) in cut.items()}, 1)
    return lambda: predictor.run(alone)


_calls: list[Call] = []


def _prepare(model: str, artifact: Path, core: int) -> None:
    os.sched_setaffinity(0, {core})
    _calls[:] = [pipe_call(artifact) if model == "cards" else model_call(artifact)]


def _measure(seconds: float) -> float:
    (call,) = _calls
    for _ in range(20):
        call()
    begin, count = time.perf_counter(), 0
    while (now := time.perf_counter()) < begin + seconds:
        call()
        count += 1
    return count / (now - begin)
