"""What a right answer is, in whichever form a server gives it, and a watch that keeps asking while the load runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.server.load import Target
from benchmarks.server.request_bodies import MOLECULE, PHOTO, ROW
from lading.artifact import Artifact
from lading.budget import Budget
from lading.predictor import Predictor
from lading.protocol.json_values import read_inputs
from lading.protocol.plain import Classifier, classifier
from lading.spec import Array
from lading.tensors.agreement import close

EVERY_S = 0.1
"""Seconds between two questions of the watch: under one in a hundred of the requests of any load here."""


@dataclass(frozen=True)
class Expected:
    """Answers of the artifact in this process: the most likely label of each output, or its numbers."""

    labels: dict[str, tuple[str, ...]]
    """Of every labelled output."""
    winners: dict[str, str]
    numbers: tuple[float, ...]
    """Of the outputs that have no labels, one after another."""

    def right(self, answer: Any) -> bool:
        """Whether a parsed answer says the same."""
        found = outputs_of(answer)
        if self.winners:
            return {name: self._winner(name, found.get(name)) for name in self.winners} == self.winners
        numbers = np.concatenate([np.ravel(value) for value in found.values()])
        return numbers.size == len(self.numbers) and bool(close(np.array(self.numbers), numbers).all())

    def _winner(self, name: str, value: Any) -> str:
        if isinstance(value, list) and value and not isinstance(value[0], str):
            return self.labels[name][int(np.argmax(np.ravel(value)))]
        return str(value[0] if isinstance(value, list) and value else value)


def expected_of(artifact: Path) -> Expected:
    """Answer the harness's one request in process."""
    loaded = Artifact.load(artifact)
    predictor, how = Predictor(loaded), classifier(loaded)
    if isinstance(how, Classifier):
        picture = how.content.decode(PHOTO.read_bytes(), how.input, Budget())
        answer = how.answer(predictor({how.input.name: picture[None]}))
        labels = {spec.name: spec.labels or () for spec in loaded.manifest.outputs}
        return Expected(labels, {name: answer[name] for name in labels}, ())
    answered = predictor(request_of(loaded))
    return Expected({}, {}, tuple(float(value) for y in answered.values() for value in y.ravel()))


def request_of(artifact: Artifact) -> dict[str, Array]:
    """The harness's one request of numbers, as a batch of one."""
    inputs = artifact.manifest.inputs
    content = MOLECULE if artifact.manifest.name == "molecules" else {inputs[0].name: [ROW]}
    return read_inputs(inputs, content, max_batch=1, budget=Budget())


def outputs_of(answer: Any) -> dict[str, Any]:
    """The outputs by name: of the Open Inference Protocol, of ``/predict``, or of a peer's own shape."""
    if isinstance(answer, list):
        return {"": answer}
    outputs = answer.get("outputs", answer)
    if isinstance(outputs, list):
        return {output["name"]: output["data"] for output in outputs}
    return dict(outputs)


def ask(target: Target, expected: Expected, client: httpx.Client) -> int:
    """Ask once.

    Returns:
        The status.

    Raises:
        RuntimeError: 200, and a wrong answer.
    """
    headers = dict(header.split(": ") for header in target.headers) | {"content-type": target.content_type}
    answer = client.post(target.url, content=target.body.read_bytes(), headers=headers)
    if answer.status_code == httpx.codes.OK and not expected.right(answer.json()):
        raise RuntimeError(f"{target.url} answered wrongly: {answer.text[:300]}")
    return answer.status_code


@dataclass
class Watch:
    """What the watch saw."""

    right: int = 0
    refused: int = 0
    problem: str = field(default="", repr=False)


@contextmanager
def watching(target: Target, expected: Expected) -> Iterator[Watch]:
    """Keep asking while the block runs.

    Raises:
        RuntimeError: an answer was wrong, or none came.
    """
    seen, done = Watch(), threading.Event()

    def watch() -> None:
        with httpx.Client(timeout=30) as client:
            while not done.wait(EVERY_S):
                try:
                    if ask(target, expected, client) == httpx.codes.OK:
                        seen.right += 1
                    else:
                        seen.refused += 1
                except (RuntimeError, httpx.HTTPError) as error:
                    seen.problem = str(error) or type(error).__name__

    thread = threading.Thread(target=watch, name="watch")
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()
    if seen.problem:
        raise RuntimeError(f"while the load ran: {seen.problem}")
