"""A new release continues, waits, or is rolled back: the rule, and what must be true for every count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.deploy.canary.decision import Limits, ReleaseWindow, decide, wilson

LIMITS = Limits()
RANK = {"roll back": 0, "wait": 1, "continue": 2}
STABLE = ReleaseWindow(requests=10_000, errors=5, p99_ms=20.0)
SAME = ReleaseWindow(requests=1_000, errors=0, p99_ms=20.0)

counts = st.integers(0, 100_000)
windows = st.builds(
    lambda requests, share, p99: ReleaseWindow(requests, round(requests * share), p99),
    counts,
    st.floats(0, 1),
    st.none() | st.floats(0.01, 1e5),
)
agreements = st.none() | st.floats(0, 1)


def test_a_release_that_is_the_same_goes_on() -> None:
    decision = decide(STABLE, SAME, 1.0, LIMITS)
    assert decision.verdict == "continue"
    assert len(decision.reasons) == 3


@pytest.mark.parametrize(
    ("canary", "agreement", "why"),
    [
        (replace(SAME, errors=20), 1.0, "20 of 1000 requests failed"),
        (replace(SAME, p99_ms=25.1), 1.0, "p99 is 25.1 ms; 20.0 ms before, the limit is 25.0 ms"),
        (SAME, 0.5, "the same on 50.0% of the inputs"),
        (ReleaseWindow(10, 10, 20.0), 1.0, "10 of 10 requests failed"),
    ],
)
def test_one_thing_that_is_worse_rolls_it_back(canary: ReleaseWindow, agreement: float, why: str) -> None:
    decision = decide(STABLE, canary, agreement, LIMITS)
    assert decision.verdict == "roll back"
    assert any(why in reason for reason in decision.reasons)


def test_too_few_requests_wait_and_so_does_a_release_without_a_p99() -> None:
    assert decide(STABLE, replace(SAME, requests=199), 1.0, LIMITS).verdict == "wait"
    assert decide(STABLE, ReleaseWindow(0, 0, None), 1.0, LIMITS).verdict == "wait"
    assert decide(replace(STABLE, p99_ms=None), SAME, 1.0, LIMITS).verdict == "wait"


def test_more_errors_than_allowed_that_may_be_chance_wait() -> None:
    assert decide(STABLE, replace(SAME, errors=2), 1.0, LIMITS).verdict == "wait"


def test_milliseconds_of_a_fast_server_are_not_a_ratio() -> None:
    fast = replace(STABLE, p99_ms=1.0)
    assert decide(fast, replace(SAME, p99_ms=2.9), 1.0, LIMITS).verdict == "continue"
    assert decide(fast, replace(SAME, p99_ms=3.1), 1.0, LIMITS).verdict == "roll back"


@given(windows, windows, agreements)
def test_more_errors_never_make_it_better(
    stable: ReleaseWindow, canary: ReleaseWindow, agreement: float | None
) -> None:
    before = decide(stable, canary, agreement, LIMITS).verdict
    if canary.errors < canary.requests:
        worse = decide(stable, replace(canary, errors=canary.errors + 1), agreement, LIMITS).verdict
        assert RANK[worse] <= RANK[before]


@given(windows, windows, agreements, st.floats(0, 1e5))
def test_a_slower_or_less_agreeing_release_is_never_better(
    stable: ReleaseWindow, canary: ReleaseWindow, agreement: float | None, more: float
) -> None:
    before = RANK[decide(stable, canary, agreement, LIMITS).verdict]
    if canary.p99_ms is not None:
        assert RANK[decide(stable, replace(canary, p99_ms=canary.p99_ms + more), agreement, LIMITS).verdict] <= before
    if agreement is not None:
        assert RANK[decide(stable, canary, agreement / 2, LIMITS).verdict] <= before


@given(windows, windows, agreements)
def test_nothing_goes_on_without_the_requests_that_are_needed(
    stable: ReleaseWindow, canary: ReleaseWindow, agreement: float | None
) -> None:
    if decide(stable, canary, agreement, LIMITS).verdict == "continue":
        assert canary.requests >= LIMITS.min_requests
        assert canary.errors / canary.requests <= stable.errors / max(1, stable.requests) + LIMITS.errors + 1e-12


@given(counts, st.floats(0, 1))
def test_the_bounds_hold_the_share(requests: int, share: float) -> None:
    errors = round(requests * share)
    low, high = wilson(errors, requests)
    assert 0 <= low <= high <= 1
    if requests:
        assert low - 1e-9 <= errors / requests <= high + 1e-9
