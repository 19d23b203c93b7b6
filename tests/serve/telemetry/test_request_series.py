"""Amounts that are counted later show as if each had been counted at once."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from lading.serve.telemetry.request_series import SECONDS, Answers, RequestCounter, RequestHistogram

AMOUNTS = st.lists(st.floats(0, 100) | st.sampled_from(SECONDS), max_size=600)


def answers(registry: CollectorRegistry) -> Answers:
    """The series of one kind of answer."""
    counters = [RequestCounter(name, name, ("model",), registry=registry) for name in ("requests", "received", "sent")]
    requests, received, sent = (one.labels("m") for one in counters)
    duration = RequestHistogram("seconds", "seconds", ("model",), buckets=SECONDS, registry=registry).labels("m")
    return Answers(requests, duration, received, sent)


@given(AMOUNTS)
def test_a_histogram_shows_what_the_librarys_would(amounts: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    own = RequestHistogram("seconds", "seconds", buckets=SECONDS, registry=ours)
    other = Histogram("seconds", "seconds", buckets=SECONDS, registry=theirs)
    for amount in amounts:
        own.observe(amount)
        other.observe(amount)
    shown, wanted = (
        {
            (sample.name, *sample.labels.values()): sample.value
            for family in registry.collect()
            for sample in family.samples
        }
        for registry in (ours, theirs)
    )
    assert shown == pytest.approx(wanted)


@given(AMOUNTS, AMOUNTS)
def test_every_answer_is_in_all_four_series_whenever_they_are_read(before: list[float], after: list[float]) -> None:
    registry = CollectorRegistry()
    one = answers(registry)
    for amounts in (before, after):
        for seconds in amounts:
            one.add(seconds, 3, 5)
        count = len(before) + (len(after) if amounts is after else 0)
        shown = {
            name: registry.get_sample_value(name, {"model": "m"})
            for name in ("requests_total", "seconds_count", "received_total", "sent_total")
        }
        assert shown == {
            "requests_total": count,
            "seconds_count": count,
            "received_total": 3 * count,
            "sent_total": 5 * count,
        }


def test_threads_that_count_and_one_that_reads_lose_nothing() -> None:
    registry = CollectorRegistry()
    histogram = RequestHistogram("seconds", "seconds", buckets=SECONDS, registry=registry)
    each = 5_000

    def count() -> None:
        for _ in range(each):
            histogram.observe(0.25)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        registry.get_sample_value("seconds_count")
    assert registry.get_sample_value("seconds_count") == 4 * each
    assert registry.get_sample_value("seconds_sum") == each
