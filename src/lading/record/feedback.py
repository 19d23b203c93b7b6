"""``POST /feedback``: the truth about an answer, joined by request id."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lading.errors import RequestError, UnknownModelError
from lading.protocol.json_values import parse_object
from lading.record.exchange import Exchange
from lading.record.metrics import RecordingMetrics
from lading.spec import TensorSpec

NEWEST = 1000
"""Number of answers with a known truth in the live accuracy."""
LARGEST = 4096
"""Maximum values of an output that is remembered. No one sends the truth about a larger one."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    time: float
    model: str
    variant: str
    specs: tuple[TensorSpec, ...]
    rows: int
    predicted: Mapping[str, Any]
    """By output: the label of the first example, or its list of numbers."""


class Feedback:
    """Remembers the newest answers, and counts how many were right.

    Args:
        metrics: counts the truths.
        remembered: maximum number of answers.
    """

    def __init__(self, metrics: RecordingMetrics, remembered: int) -> None:
        self._metrics, self._most = metrics, remembered
        self._answers: OrderedDict[str, _Remembered] = OrderedDict()
        self._newest: dict[tuple[str, str, str], deque[bool]] = {}

    def wants(self, exchange: Exchange) -> bool:
        return exchange.outputs is not None

    def take(self, exchange: Exchange) -> None:
        assert exchange.outputs is not None
        model = exchange.model
        specs = tuple(spec for spec in model.outputs if exchange.outputs[spec.name].size <= LARGEST)
        predicted = {spec.name: _predicted(spec, exchange.outputs[spec.name]) for spec in specs}
        rows = max((len(exchange.outputs[spec.name]) for spec in specs if spec.batched), default=1)
        self._answers[exchange.request_id] = _Remembered(
            exchange.time, model.name, model.variant, specs, rows, predicted
        )
        while len(self._answers) > self._most:
            self._answers.popitem(last=False)

    def tick(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._answers

    def tell(self, request_id: str, truth: Mapping[str, Any]) -> dict[str, Any]:
        """Compare an answer with the truth.

        Returns:
            By output ``{"predicted": ..., "truth": ..., "right": true}``; for a number ``"error": 0.25`` instead of
            ``right``.

        Raises:
            RequestError: an output or a label is unknown, or the request had several examples.
            UnknownModelError: the answer is not remembered: another replica gave it, or it is too old.
        """
        answer = self._answers.get(request_id)
        if answer is None:
            self._metrics.feedback.labels("unknown", "unknown", "unknown", "unknown").inc()
            raise UnknownModelError(
                f"no answer to the request {request_id!r} is remembered here: it was given by another server, "
                f"or more than {self._most} answers ago (LADING_FEEDBACK)"
            )
        if answer.rows != 1:
            raise RequestError(f"the request {request_id!r} had {answer.rows} examples; feedback is for one at a time")
        specs = {spec.name: spec for spec in answer.specs}
        for name in truth:
            if name not in specs:
                raise RequestError(f"{name!r} is no output of {answer.model!r}; its outputs are: {', '.join(specs)}")
        checked = {name: _truth(specs[name], value) for name, value in truth.items()}
        self._metrics.feedback_delay.labels(answer.model, answer.variant).observe(max(0.0, time.time() - answer.time))
        return {name: self._count(answer, specs[name], value) for name, value in checked.items()}

    def _count(self, answer: _Remembered, spec: TensorSpec, truth: Any) -> dict[str, Any]:
        labels = (answer.model, answer.variant)
        predicted = answer.predicted[spec.name]
        if not is_label(spec):
            differences = [abs(one - other) for one, other in zip(predicted, truth, strict=True)]
            names = spec.labels or tuple(str(index) for index in range(len(differences)))
            for name, difference in zip(names, differences, strict=True):
                output = spec.name if len(differences) == 1 else f"{spec.name}.{name}"
                self._metrics.absolute_error.labels(*labels, output).observe(difference)
            self._metrics.feedback.labels(*labels, spec.name, "number").inc()
            return {"predicted": predicted, "truth": truth, "error": max(differences, default=0.0)}
        right = predicted == truth
        self._metrics.feedback.labels(*labels, spec.name, "right" if right else "wrong").inc()
        newest = self._newest.setdefault((*labels, spec.name), deque(maxlen=NEWEST))
        newest.append(right)
        self._metrics.live_accuracy.labels(*labels, spec.name).set(sum(newest) / len(newest))
        return {"predicted": predicted, "truth": truth, "right": right}


def is_label(spec: TensorSpec) -> bool:
    """Return whether an output holds the probabilities of its labels, rather than numbers."""
    return spec.labels is not None and spec.unit is None and spec.dtype.startswith("float")


def _predicted(spec: TensorSpec, array: Any) -> Any:
    first = np.asarray(array)[0] if spec.batched else np.asarray(array)
    if is_label(spec):
        assert spec.labels is not None
        return spec.labels[int(first.reshape(-1, len(spec.labels))[0].argmax())]
    return [float(value) for value in first.reshape(-1)]


def _truth(spec: TensorSpec, value: Any) -> Any:
    if is_label(spec):
        assert spec.labels is not None
        if value not in spec.labels:
            raise RequestError(f"{value!r} is no label of {spec.name!r}; its labels are: {', '.join(spec.labels)}")
        return value
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise RequestError(f"the truth of {spec.name!r} is a number, or a list of them")
    size = int(np.prod([dim for dim in spec.example_shape if isinstance(dim, int)])) if spec.batched else len(numbers)
    if len(numbers) != size:
        raise RequestError(f"{spec.name!r} has {size} numbers, and its truth {len(numbers)}")
    return [float(number) for number in numbers]


def read_feedback(body: bytes) -> tuple[str, dict[str, Any]]:
    """Parse ``{"request_id": "...", "truth": {"suit": "hearts"}}``.

    Returns:
        The request id, and the truth by output.

    Raises:
        RequestError: the body has another form.
    """
    content = parse_object(body)
    request_id, truth = content.get("request_id"), content.get("truth")
    if not isinstance(request_id, str) or not isinstance(truth, dict) or not truth or len(content) != 2:
        raise RequestError(
            'feedback is {"request_id": "...", "truth": {...}}: the x-request-id of an answer, and the truth by output'
        )
    return request_id, truth
