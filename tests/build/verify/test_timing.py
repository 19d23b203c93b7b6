"""Interleaved rounds and the statistics over them; no test looks at real time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.build.verify.peak_memory import peak_memory
from lading.build.verify.timing import ALONE, FIRST, MIN_RUNS, Plan, Timings, interval, measure, ratio, timing
from lading.errors import ArtifactError

latencies = st.lists(st.lists(st.floats(0.01, 1000), min_size=3, max_size=6).map(np.array), min_size=3, max_size=9)


def test_every_runner_runs_in_every_round() -> None:
    calls: Counter[str] = Counter()
    rounds: list[int] = []
    samples = measure(
        {name: (lambda name=name: calls.update([name])) for name in "abc"},  # type: ignore[misc]
        Plan(rounds=4, turn_ms=0.0),
        after_round=lambda: rounds.append(1),
    )
    assert {name: [len(turn) for turn in turns] for name, turns in samples.items()} == dict.fromkeys(
        "abc", [MIN_RUNS] * 4
    )
    # One run before the first round, and one at the start of each turn, are not counted.
    assert calls == dict.fromkeys("abc", 1 + 4 * (1 + MIN_RUNS))
    assert len(rounds) == 4


def test_runners_take_turns_in_a_changing_order() -> None:
    order: list[str] = []
    measure({name: (lambda name=name: order.append(name)) for name in "abcd"}, Plan(6, 0.0))  # type: ignore[misc]
    turns = ["".join(order[4 + 16 * index : 20 + 16 * index : 4]) for index in range(6)]
    assert all(sorted(turn) == list("abcd") for turn in turns)
    assert len(set(turns)) > 1


@given(latencies)
def test_a_runner_is_as_fast_as_itself(samples: list[np.ndarray]) -> None:
    found = ratio(samples, samples)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


@given(latencies, st.floats(1.1, 20))
def test_a_runner_slower_by_a_factor_is_found_slower_by_that_factor(samples: list[np.ndarray], factor: float) -> None:
    found = ratio([turn * factor for turn in samples], samples)
    assert found.value == pytest.approx(factor)
    assert found.low == pytest.approx(factor)


@given(latencies)
def test_percentiles_are_in_order_and_the_interval_holds_the_median(samples: list[np.ndarray]) -> None:
    found = timing(samples, batch=4, threads=2)
    assert found.p50_ms <= found.p90_ms <= found.p99_ms
    medians = [float(np.median(turn)) for turn in samples]
    assert found.low_ms <= np.median(medians) * (1 + 1e-9)
    assert found.high_ms >= np.median(medians) * (1 - 1e-9)
    assert found.runs == sum(len(turn) for turn in samples)
    assert found.throughput == pytest.approx(4000 / found.p50_ms)


def test_an_interval_narrows_with_more_rounds_and_repeats_itself() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.normal(10, 1, 5), rng.normal(10, 1, 200)
    assert np.ptp(interval(many)) < np.ptp(interval(few))
    assert interval(many) == interval(many)


def test_noise_that_hits_all_runners_of_a_round_leaves_their_ratio_alone() -> None:
    rng = np.random.default_rng(0)
    disturbed = rng.uniform(1, 5, size=15)
    fast = [np.full(5, 2.0) * noise for noise in disturbed]
    slow = [np.full(5, 3.0) * noise for noise in disturbed]
    assert ratio(slow, fast).value == pytest.approx(1.5)


def test_peak_memory_grows_with_the_batch(tiny_onnx: Path) -> None:
    small, large = (
        peak_memory(tiny_onnx, {"image": np.zeros((batch, 16, 16, 3), dtype=np.uint8)}) for batch in (1, 2048)
    )
    assert 0 < small < large


def test_a_graph_that_cannot_run_says_why(tiny_onnx: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be run in a process of its own"):
        peak_memory(tiny_onnx, {"wrong": np.zeros((1,), dtype=np.uint8)})


def test_a_batch_is_timed_as_if_the_machine_had_been_as_fast_as_for_one_example() -> None:
    timings = Timings()
    timings.add(FIRST, {"fp32": [np.full(3, 2.0)] * 4})
    assert timings.samples[FIRST]["fp32"][0].tolist() == [2.0] * 3
    slower = [1.0, 2.0, 2.0, 1.0]  # another guest of the core came and went
    measured = {
        "fp32": [np.full(3, 8.0 * factor) for factor in slower],
        "torch eager": [np.full(3, 20.0 * factor) for factor in slower],
        "fp32" + ALONE: [np.full(3, 2.0 * factor) for factor in slower],
    }
    timings.add((4, 1), measured)
    assert [turn.tolist() for turn in timings.samples[4, 1]["fp32"]] == [[8.0] * 3] * 4
    assert [turn.tolist() for turn in timings.samples[4, 1]["torch eager"]] == [[20.0] * 3] * 4
    assert set(timings.samples[4, 1]) == {"fp32", "torch eager"}
