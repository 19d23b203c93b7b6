"""Feedback: an answer counts once, its newest truth counts, and nothing that is sent makes a sum useless."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from lading.artifact.manifest import ModelInfo
from lading.errors import RequestError, UnknownModelError
from lading.record.exchange import Exchange
from lading.record.feedback import Feedback
from lading.record.metrics import RecordingMetrics
from lading.spec import Array, TensorSpec
from tests.given.live_server import LiveServer, live_server
from tests.given.payload_rows import rows_in
from tests.given.small_artifacts import table_artifact

FEATURES = {"features": [[1, 2, 3, 4]]}
OUTPUTS = (
    TensorSpec(name="sort", dtype="float32", shape=("batch", 2), labels=("cat", "dog")),
    TensorSpec(name="size", dtype="float64", shape=("batch", 2)),
    TensorSpec(name="parts", dtype="float32", shape=("batch", "n")),
    TensorSpec(name="whole", dtype="float32", shape=("n",)),
)
MODEL = ModelInfo("pets", "1", "fp32", "sha256:0", (), OUTPUTS, 8)


class Answers:
    """A feedback that remembers answers of ``MODEL``, and its metrics."""

    def __init__(self, remembered: int = 10_000, max_bytes: float = 1e9) -> None:
        self.registry = CollectorRegistry()
        self.feedback = Feedback(RecordingMetrics(self.registry), remembered, max_bytes)

    def give(self, request_id: str, *, dog: float = 0.9, numbers: Array | None = None, size: float = 1.0) -> None:
        values = np.zeros(3, np.float32) if numbers is None else numbers
        outputs = {
            "sort": np.array([[1 - dog, dog]], np.float32),
            "size": np.array([[size, 2.0]]),
            "parts": values[None],
            "whole": values,
        }
        self.feedback.take(Exchange(request_id, MODEL, "http", 200, "", 0.1, 0.0, {}, outputs))

    def value(self, name: str, **labels: str) -> float:
        return sum(
            sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def test_an_answer_counts_once_and_its_newest_truth_counts() -> None:
    answers = Answers()
    answers.give("one")
    answers.give("two")
    for truth in ("dog", "dog", "cat", "dog", "cat"):
        answers.feedback.tell("one", {"sort": truth})
    answers.feedback.tell("two", {"sort": "dog"})
    assert answers.value("lading_feedback_total", output="sort", result="right") == 2
    assert answers.value("lading_feedback_total", output="sort", result="wrong") == 0
    assert answers.value("lading_feedback_changed_total", output="sort") == 3
    assert answers.value("lading_live_accuracy", output="sort") == 0.5
    assert answers.value("lading_feedback_delay_seconds_count") == 2
    for size in (3.0, 3.0, 5.0):
        answers.feedback.tell("one", {"size": [size, 2.0]})
    assert answers.value("lading_feedback_absolute_error_count", output="size.0") == 1
    assert answers.value("lading_feedback_absolute_error_sum", output="size.0") == 2
    assert answers.value("lading_live_absolute_error", output="size.0") == 4
    assert answers.value("lading_live_absolute_error", output="size.1") == 0
    assert answers.value("lading_feedback_changed_total", output="size") == 1


def test_no_counter_goes_back_whatever_truths_come() -> None:
    answers, rng = Answers(remembered=50), np.random.default_rng(0)
    before: dict[tuple[object, ...], float] = {}
    truths: dict[str, str] = {}
    for number in range(2000):
        name = f"id-{rng.integers(30)}"
        if number % 7 == 0 or name not in answers.feedback:
            answers.give(name)
            truths.pop(name, None)
        truths[name] = ("cat", "dog")[rng.integers(2)]
        answers.feedback.tell(name, {"sort": truths[name], "size": [float(rng.integers(9)), 0]})
        for family in answers.registry.collect():
            for sample in family.samples:
                if family.type != "gauge":
                    key = (sample.name, *sorted(sample.labels.items()))
                    assert sample.value >= before.get(key, 0.0)
                    before[key] = sample.value
    assert 0 < answers.value("lading_live_accuracy", output="sort") < 1


def test_the_accuracy_is_about_the_newest_answers_and_an_old_one_does_not_return() -> None:
    answers = Answers()
    for number in range(1001):
        answers.give(f"id-{number}")
        answers.feedback.tell(f"id-{number}", {"sort": "dog" if number else "cat"})
    assert answers.value("lading_live_accuracy", output="sort") == 1
    answers.feedback.tell("id-0", {"sort": "cat"})
    assert answers.value("lading_live_accuracy", output="sort") == 1
    answers.feedback.tell("id-1", {"sort": "cat"})
    assert answers.value("lading_live_accuracy", output="sort") == 0.999


def test_a_second_answer_with_the_same_id_counts_for_itself() -> None:
    answers = Answers()
    for _ in range(2):
        answers.give("one")
        answers.feedback.tell("one", {"sort": "dog"})
    assert answers.value("lading_feedback_total", result="right") == 2
    assert answers.value("lading_feedback_changed_total") == 0


HUGE = 10**400
REFUSED: list[tuple[str, Any]] = [
    ("sort", "bird"),
    ("sort", 1),
    ("sort", ["dog"]),
    ("sort", {"dog": 1}),
    ("sort", None),
    ("sort", "x" * 60_000),
    ("size", math.nan),
    ("size", [math.nan, 0]),
    ("size", [math.inf, 0]),
    ("size", [-math.inf, 0]),
    ("size", [1e300, 0]),
    ("size", [HUGE, 0]),
    ("size", [-HUGE, 0]),
    ("size", [1]),
    ("size", [1, 2, 3]),
    ("size", 1),
    ("size", []),
    ("size", [True, 0]),
    ("size", ["1", "2"]),
    ("size", [[1, 2]]),
    ("size", None),
    ("parts", [0.0] * 2),
    ("parts", [0.0] * 60_000),
    ("whole", [0.0] * 4),
    ("whole", 0.0),
    ("none", "dog"),
    ("n" * 60_000, 1),
]


@pytest.mark.parametrize(("output", "truth"), REFUSED, ids=[f"{name[:9]}-{value!r:.20}" for name, value in REFUSED])
def test_a_truth_that_cannot_be_compared_is_refused_and_counts_nothing(output: str, truth: Any) -> None:
    answers = Answers()
    answers.give("one")
    with pytest.raises(RequestError) as refused:
        answers.feedback.tell("one", {"sort": "dog", output: truth})
    assert len(str(refused.value)) <= 500
    assert answers.value("lading_feedback_total") == 0
    assert answers.value("lading_feedback_delay_seconds_count") == 0


def test_a_prediction_that_is_too_large_to_be_added_up_is_refused() -> None:
    answers = Answers()
    answers.give("one", size=-1e308)
    with pytest.raises(RequestError, match=r"is further than 1e\+100 from the prediction"):
        answers.feedback.tell("one", {"size": [1, 2]})


def test_numbers_of_any_length_that_the_answer_had_are_compared() -> None:
    answers = Answers()
    answers.give("one", numbers=np.array([1, 2, 3, 4, 5], np.float32))
    told = answers.feedback.tell("one", {"parts": [1, 2, 3, 4, 6], "whole": [1, 2, 3, 4, 5]})
    assert told["parts"] == {"predicted": [1, 2, 3, 4, 5], "truth": [1, 2, 3, 4, 6], "error": 1}
    assert told["whole"]["error"] == 0


def test_an_output_of_thousands_of_numbers_has_one_series() -> None:
    answers = Answers()
    answers.give("one", numbers=np.zeros(4000, np.float32))
    answers.feedback.tell("one", {"whole": [0.0] * 2000 + [1.0] * 2000})
    assert answers.value("lading_feedback_absolute_error_count") == 1
    assert answers.value("lading_live_absolute_error", output="whole") == 0.5


def test_an_empty_output_has_an_error_of_zero() -> None:
    answers = Answers()
    answers.give("one", numbers=np.zeros(0, np.float32))
    assert answers.feedback.tell("one", {"whole": []})["whole"]["error"] == 0
    assert answers.value("lading_live_absolute_error") == 0


def test_what_is_remembered_has_a_limit_in_bytes_too() -> None:
    answers = Answers(max_bytes=1e6)
    for number in range(200):
        answers.give(f"id-{number}", numbers=np.zeros(4000, np.float32))
        answers.feedback.tell(f"id-{number}", {"whole": [0.0] * 4000})
    known = [number for number in range(200) if f"id-{number}" in answers.feedback]
    assert known == list(range(200 - len(known), 200)), "the newest"
    assert 5 < len(known) < 16  # three arrays of 32 kB each
    with pytest.raises(UnknownModelError, match=r"LADING_FEEDBACK_MB=1\)"):
        answers.feedback.tell("id-0", {"sort": "dog"})


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("feedback")
    with live_server(table_artifact(folder / "artifact"), feedback=10, payload_log=str(folder / "log")) as live:
        live.client.post("/predict", json=FEATURES, headers={"x-request-id": "known"})
        yield live


BODIES: list[tuple[bytes, int]] = [
    (b'{"request_id": "known", "truth": {"total": 1e999}}', 400),
    (b'{"request_id": "known", "truth": {"total": -1e999}}', 400),
    (b'{"request_id": "known", "truth": {"total": NaN}}', 400),
    (b'{"request_id": "known", "truth": {"total": 1e308}}', 400),
    (b'{"request_id": "known", "truth": {"total": 1%s}}' % (b"0" * 5000), 400),
    (b'{"request_id": "known", "truth": {"total": [%s1]}}' % (b"1," * 20_000), 400),
    (b'{"request_id": "known", "truth": {"total": %s%s}}' % (b"[" * 20_000, b"]" * 20_000), 400),
    (b'{"request_id": "known", "truth": {%s}}' % b",".join(b'"o%d":1' % n for n in range(3000)), 400),
    (b'{"request_id": "%s", "truth": {"total": 1}}' % (b"x" * 129), 400),
    (b'{"request_id": "%s", "truth": {"total": 1}}' % (b"x" * 60_000), 400),
    (b'{"request_id": "", "truth": {"total": 1}}', 400),
    (b'{"request_id": "a b", "truth": {"total": 1}}', 400),
    (b'{"request_id": "a\\nb", "truth": {"total": 1}}', 400),
    (b'{"request_id": "\\u0000", "truth": {"total": 1}}', 400),
    (b'{"request_id": "known", "truth": {}}', 400),
    (b'{"request_id": "known", "truth": {"total": 1}, "more": 1}', 400),
    (b'{"request_id": "unknown", "truth": {"total": "%s"}}' % (b"x" * 60_000), 202),
    *(
        (b'{"request_id": "unknown", "truth": {"total": %s}}' % value, 400)
        for value in (
            b"null",
            b"true",
            b"{}",
            b"[null]",
            b'["a"]',
            b"[[1]]",
            b"[" * 300 + b"]" * 300,
            b'{"a":' * 300 + b"1" + b"}" * 300,
        )
    ),
    (b'{"request_id": "unknown", "truth": {"total": [1, 2.5, 18446744073709551615, 1e300]}}', 202),
    (b'{"request_id": "unknown", "truth": {"\\ud83d\\ude00": 1, "": "x"}}', 202),
    (b" " * 65_537, 413),
]


@pytest.mark.parametrize(("body", "status"), BODIES, ids=[str(number) for number in range(len(BODIES))])
def test_a_body_that_is_no_feedback_gets_one_short_sentence(told: LiveServer, body: bytes, status: int) -> None:
    answer: httpx.Response = told.client.post("/feedback", content=body)
    assert answer.status_code == status, answer.text
    assert len(answer.json()["message" if status == 202 else "error"]) <= 500
    assert told.client.get("/livez").status_code == 200


def test_the_log_keeps_truths_that_were_accepted_or_are_about_other_servers(tmp_path: Path) -> None:
    with live_server(table_artifact(tmp_path / "artifact"), feedback=10, payload_log=str(tmp_path / "log")) as live:
        live.client.post("/predict", json=FEATURES, headers={"x-request-id": "known"})
        for request_id, truth in (("known", 11), ("known", "x"), ("known", 12), ("elsewhere", "any")):
            live.client.post("/feedback", json={"request_id": request_id, "truth": {"total": truth}})
    kept = [(row["request_id"], json.loads(row["truth"])) for row in rows_in(tmp_path / "log", "feedback")]
    assert kept == [("known", 11), ("known", 12), ("elsewhere", "any")]
