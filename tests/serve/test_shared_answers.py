"""Kept answers without a server: who runs, who waits, and what is kept."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.errors import ExpiredError, LadingError, OverloadedError, ReusedKeyError
from lading.protocol.codec import Encoded
from lading.serve.kept_answers import KEPT_S, OVERHEAD, KeptAnswers, SharedAnswer
from lading.serve.retry_name import RetryId, RetryName
from lading.serve.telemetry.metrics import Metrics


class Try:
    """A request of this test: records how it ended."""

    def __init__(self, deadline: float = 1e12) -> None:
        self.body, self.size, self.deadline, self.in_flight = b"", 0, deadline, True
        self.runs = 0
        self.ended: list[object] = []

    def submit(self, body: Any, size: int) -> None:
        del body, size
        self.runs += 1

    def done(self, result: BaseException) -> None:
        self.in_flight = False
        self.ended.append(result)

    def replay(self, answer: Any, error: LadingError | None, request_id: str) -> None:
        del request_id
        self.in_flight = False
        self.ended.append(answer if error is None else error)


def name(key: str, body: bytes = b"") -> RetryName:
    return RetryName.of(RetryId(key.encode(), True), {}, "http", "/predict", body=body)


class Shelf:
    """Kept answers with a clock that the test turns."""

    def __init__(self, max_bytes: int) -> None:
        self.metrics, self.now = Metrics(), 0.0
        self.answers = KeptAnswers(max_bytes, self.metrics, lambda: self.now)

    @property
    def held(self) -> float:
        return self.metrics.registry.get_sample_value("lading_kept_answer_bytes") or 0.0

    def ask(self, named: RetryName, answer: bytes) -> bytes:
        """Ask, and be the one that answers if no one has."""
        attempt = Try()
        shared: SharedAnswer = self.answers.join(named, attempt)
        if shared.first is attempt:
            shared.ended(attempt, Encoded([], answer), None, "id")
            return answer
        shared.replay(attempt)
        (got,) = attempt.ended
        assert isinstance(got, Encoded)
        return got.body


STEPS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 3 * OVERHEAD), st.floats(0, 40)), min_size=1, max_size=40
)


@given(steps=STEPS, room=st.integers(1, 8 * OVERHEAD))
def test_what_is_kept_never_exceeds_its_bound_and_every_answer_is_the_first_within_a_minute(
    steps: Sequence[tuple[str, int, float]], room: int
) -> None:
    async def play() -> None:
        shelf = Shelf(room)
        first: dict[str, tuple[bytes, float]] = {}
        for number, (key, size, pause) in enumerate(steps):
            shelf.now += pause
            own = number.to_bytes(4, "big") + bytes(size)
            got = shelf.ask(name(key), own)
            if got is own:
                first[key] = own, shelf.now
            else:
                answer, at = first[key]
                assert got == answer
                assert shelf.now < at + KEPT_S
            assert shelf.held <= room

    asyncio.run(play())


def test_the_bound_holds_for_real_memory() -> None:
    async def fill() -> int:
        shelf = Shelf(1_000_000)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(5_000):
            shelf.ask(name(str(number)), bytes(number % 700))
        held = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert shelf.held > 900_000
        return held

    assert asyncio.run(fill()) < 1_000_000


@pytest.mark.parametrize("error", [OverloadedError("busy"), ExpiredError("late"), RuntimeError("fault")])
def test_when_the_first_fails_for_now_one_twin_runs_and_the_others_wait_for_it(error: Exception) -> None:
    async def play() -> None:
        shelf = Shelf(1_000_000)
        first, *twins = (Try() for _ in range(4))
        shared = shelf.answers.join(name("k"), first)
        for twin in twins:
            assert shelf.answers.join(name("k"), twin) is shared
            shared.wait(twin)
        shared.leave(twins[0])
        twins[0].in_flight = False
        shared.ended(first, None, error, "id")
        await asyncio.sleep(0)
        assert [twin.runs for twin in twins] == [0, 1, 1]  # each asks again, and so joins the first of them

    asyncio.run(play())


def test_another_body_is_refused_while_the_first_runs_too() -> None:
    shelf = Shelf(1_000_000)
    shelf.answers.join(name("k", b"one"), Try())
    with pytest.raises(ReusedKeyError):
        shelf.answers.join(name("k", b"other"), Try())


def test_an_answer_that_is_too_large_to_keep_still_serves_the_twins_that_wait() -> None:
    async def play() -> None:
        shelf = Shelf(OVERHEAD)
        first, twin = Try(), Try()
        shared = shelf.answers.join(name("k"), first)
        shelf.answers.join(name("k"), twin)
        shared.wait(twin)
        shared.ended(first, Encoded([], bytes(100)), None, "id")
        await asyncio.sleep(0)
        assert twin.ended == [Encoded([], bytes(100))]
        assert shelf.held == 0
        assert shelf.answers.join(name("k"), again := Try()).first is again

    asyncio.run(play())
