"""``POST /feedback``: the truth about an answer, joined by request id."""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import getsizeof
from typing import Any

import numpy as np

from lading.errors import RequestError, UnknownModelError
from lading.errors.sentences import clipped, meant, shown
from lading.protocol.json_body import parse_object
from lading.record.exchange import USABLE_ID, Exchange
from lading.record.metrics import RecordingMetrics
from lading.record.truth import LARGEST, NEWEST, Value, checked_truth, errors_by_series, predicted_value
from lading.spec import TensorSpec

MOST_OUTPUTS = 256
"""Maximum outputs in one message of feedback."""
_ANSWER_BYTES = 1500
"""Estimate for an answer without its arrays and texts."""


@dataclass(slots=True)
class _Remembered:
    number: int
    """Tells two answers with the same request id apart."""
    time: float
    model: str
    variant: str
    specs: dict[str, TensorSpec]
    rows: int
    predicted: Mapping[str, Value]
    """By output: the label of the first example, or its numbers."""
    truths: dict[str, Value] = field(default_factory=dict)
    """By output: the newest truth."""
    nbytes: int = 0


class Feedback:
    """Remembers the newest answers, and counts how many were right.

    An answer counts once in the counters, with its first truth, because a counter never decreases. In the gauges its
    newest truth counts.

    Args:
        metrics: counts the truths.
        remembered: maximum number of answers.
        max_bytes: maximum size of the remembered answers.
    """

    def __init__(self, metrics: RecordingMetrics, remembered: int, max_bytes: float) -> None:
        self._metrics, self._most, self._max_bytes = metrics, remembered, max_bytes
        self._lock = threading.Lock()  # the recorder's thread adds answers, and the event loop adds truths
        self._answers: OrderedDict[str, _Remembered] = OrderedDict()
        self._bytes = 0
        self._numbers = itertools.count()
        self._newest: dict[tuple[str, str, str], OrderedDict[int, float]] = {}
        """By model, variant and output: 1 for right and 0 for wrong, or the error, by the answer's number."""
        self.held = self.waiting = 0  # what is remembered has a limit of its own

    def wants(self, exchange: Exchange) -> bool:
        return exchange.outputs is not None

    def take(self, exchange: Exchange) -> None:
        assert exchange.outputs is not None
        model = exchange.model
        specs = {spec.name: spec for spec in model.outputs if exchange.outputs[spec.name].size <= LARGEST}
        predicted = {name: predicted_value(spec, exchange.outputs[name]) for name, spec in specs.items()}
        rows = max((len(exchange.outputs[name]) for name, spec in specs.items() if spec.batched), default=1)
        answer = _Remembered(next(self._numbers), exchange.time, model.name, model.variant, specs, rows, predicted)
        answer.nbytes = _ANSWER_BYTES + getsizeof(exchange.request_id) + sum(map(_size, predicted.values()))
        with self._lock:
            self._forget(self._answers.pop(exchange.request_id, None))
            self._answers[exchange.request_id] = answer
            self._bytes += answer.nbytes
            while len(self._answers) > self._most or self._bytes > self._max_bytes:
                self._forget(self._answers.popitem(last=False)[1])

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
            RequestError: an output or a label is unknown, a number is not finite or too large, or the request had
                several examples. Nothing is counted.
            UnknownModelError: the answer is not remembered: another replica gave it, or it is too old.
        """
        with self._lock:
            answer = self._answers.get(request_id)
            if answer is None:
                self._metrics.feedback.labels("unknown", "unknown", "unknown", "unknown").inc()
                raise UnknownModelError(
                    f"no answer to the request {shown(request_id)} is remembered here: it was given by another server, "
                    f"or too long ago (LADING_FEEDBACK={self._most}, LADING_FEEDBACK_MB={self._max_bytes / 1e6:g})"
                )
            if answer.rows != 1:
                raise RequestError(
                    f"the request {shown(request_id)} had {answer.rows} examples; feedback is for one at a time"
                )
            checked = {name: _truth(answer, name, value) for name, value in truth.items()}
            if not answer.truths:
                delay = max(0.0, time.time() - answer.time)
                self._metrics.feedback_delay.labels(answer.model, answer.variant).observe(delay)
            return {name: self._count(answer, name, value) for name, value in checked.items()}

    def passed_on(self) -> None:
        """Count a truth about an answer that is not remembered here, and that the payload log joins."""
        self._metrics.feedback.labels("unknown", "unknown", "unknown", "logged").inc()

    def _count(self, answer: _Remembered, name: str, truth: Value) -> dict[str, Any]:
        before = answer.truths.get(name)
        answer.truths[name] = truth
        grown = _size(truth) - (0 if before is None else _size(before))
        answer.nbytes += grown
        self._bytes += grown
        labels = (answer.model, answer.variant)
        if before is not None and not np.array_equal(before, truth):
            self._metrics.feedback_changed.labels(*labels, name).inc()
        predicted = answer.predicted[name]
        if isinstance(predicted, str):
            right = predicted == truth
            if before is None:
                self._metrics.feedback.labels(*labels, name, "right" if right else "wrong").inc()
            mean = self._mean_with((*labels, name), answer, float(right), first=before is None)
            self._metrics.live_accuracy.labels(*labels, name).set(mean)
            return {"predicted": predicted, "truth": truth, "right": right}
        assert isinstance(truth, np.ndarray)
        differences = np.abs(predicted - truth)
        if before is None:
            self._metrics.feedback.labels(*labels, name, "number").inc()
        for output, difference in errors_by_series(answer.specs[name], differences):
            if before is None:
                self._metrics.absolute_error.labels(*labels, output).observe(difference)
            mean = self._mean_with((*labels, output), answer, difference, first=before is None)
            self._metrics.live_error.labels(*labels, output).set(mean)
        error = float(differences.max(initial=0.0))
        return {"predicted": predicted.tolist(), "truth": truth.tolist(), "error": error}

    def _mean_with(self, key: tuple[str, str, str], answer: _Remembered, value: float, *, first: bool) -> float:
        """The mean of the newest values, with this one instead of an earlier one of the same answer."""
        newest = self._newest.setdefault(key, OrderedDict())
        if first or answer.number in newest:
            newest[answer.number] = value
        if len(newest) > NEWEST:
            newest.popitem(last=False)
        return sum(newest.values()) / len(newest)

    def _forget(self, answer: _Remembered | None) -> None:
        if answer is not None:
            self._bytes -= answer.nbytes


def _truth(answer: _Remembered, name: str, value: Any) -> Value:
    spec, predicted = answer.specs.get(name), answer.predicted.get(name)
    if spec is None or predicted is None:
        known = clipped(", ".join(answer.specs), 200)
        near = meant(name, list(answer.specs))
        raise RequestError(f"{shown(name)} is no output of {answer.model!r}{near} its outputs are: {known}")
    return checked_truth(spec, predicted, value)


def _size(value: Value) -> int:
    return getsizeof(value) if isinstance(value, str) else 112 + value.nbytes


def read_feedback(body: bytes) -> tuple[str, dict[str, Any]]:
    """Parse ``{"request_id": "...", "truth": {"suit": "hearts"}}``.

    Returns:
        The request id, and the truth by output.

    Raises:
        RequestError: the body has another form.
    """
    content = parse_object(body, 'a JSON object with "request_id" and "truth"')
    request_id, truth = content.get("request_id"), content.get("truth")
    if not isinstance(request_id, str) or not isinstance(truth, dict) or not truth or len(content) != 2:
        raise RequestError(
            'feedback is {"request_id": "...", "truth": {...}}: the x-request-id of an answer, and the truth by output'
        )
    if not USABLE_ID.fullmatch(request_id):
        raise RequestError(
            f"the request id {shown(request_id)} cannot be one of an answer: an id has 1 to 128 letters, digits and "
            "._:/+=@-, and begins with a letter or a digit"
        )
    for name, value in truth.items():
        numbers = value if isinstance(value, list) else [value]
        if not isinstance(value, str) and not all(type(number) in (int, float) for number in numbers):
            raise RequestError(
                f"the truth of {shown(name)} is {shown(value)}: send a label, a number or a list of numbers"
            )
    if len(truth) > MOST_OUTPUTS:
        raise RequestError(f"the truth has {len(truth)} outputs; at most {MOST_OUTPUTS} are accepted")
    return request_id, truth
