"""Drift: distances, what chance makes of them, and windows of live requests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.drift.distances import Null, js, ks, psi
from lading.drift.features import example_features
from lading.drift.reference import Reference
from lading.drift.window import BLOCKS, JOINT, Score, Window, excess_clustering, merged, scores_of
from lading.spec import Array, TensorSpec

X = TensorSpec(name="x", dtype="float32", shape=("batch", 3))
Y = TensorSpec(name="y", dtype="float32", shape=("batch", 2), labels=("low", "high"))
NODES = TensorSpec(name="nodes", dtype="float32", shape=("nodes", 2))
EDGES = TensorSpec(name="edges", dtype="int64", shape=(2, "edges"), indexes="nodes")
OWNER = TensorSpec(name="owner", dtype="int64", shape=("nodes",), owner_of="nodes")
TOTAL = TensorSpec(name="total", dtype="float32", shape=("batch", 1))
ALARMS = 1e-4

shares = st.lists(st.floats(0.001, 1), min_size=2, max_size=12).map(lambda part: np.array(part) / sum(part))


def requests(
    count: int, seed: int, *, shift: float = 0.0, twist: bool = False
) -> Iterator[tuple[Mapping[str, Array], Mapping[str, Array]]]:
    """Three normal numbers and the sign of the first; shifted, or with the second a copy of the first."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        x = rng.normal(size=3).astype(np.float32)
        x[0] += shift
        x[1] = x[0] if twist else x[1]
        high = 1 / (1 + math.exp(-3 * float(x[0])))
        yield {"x": x}, {"y": np.array([1 - high, high], dtype=np.float32)}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.fit((X,), (Y,), requests(1000, seed=1))


def scored(reference: Reference, count: int, seed: int, **changes: float) -> list[Score]:
    window = Window(reference, count)
    for given_inputs, answered in requests(count, seed, **changes):  # type: ignore[arg-type]
        window.add(example_features((X,), (Y,), given_inputs, answered))
    return list(scores_of(reference, window.blocks(), ALARMS))


@pytest.mark.parametrize("distance", [psi, js, ks])
@given(one=shares)
def test_a_distribution_has_no_distance_from_itself(distance, one) -> None:  # type: ignore[no-untyped-def]
    assert distance(one, one) == pytest.approx(0, abs=1e-12)


@given(one=shares)
def test_distances_are_bounded_and_not_negative(one: np.ndarray) -> None:
    other = one[::-1]
    assert psi(one, other) >= 0
    assert 0 <= js(one, other) <= math.log(2) + 1e-12
    assert 0 <= ks(one, other) <= 1


def test_an_empty_bin_is_no_infinite_distance() -> None:
    assert math.isfinite(psi(np.array([1.0, 0.0]), np.array([0.0, 1.0])))


@given(alarm=st.floats(1e-9, 0.4), window=st.integers(50, 5000))
def test_the_p_value_at_a_threshold_is_the_rate_of_false_alarms(alarm: float, window: int) -> None:
    null = Null(window=500, mean=0.02, variance=1e-4, power=2)
    threshold = null.threshold(alarm, window=window, examples=1000)
    assert null.p_value(threshold, window=window, examples=1000) == pytest.approx(alarm, rel=1e-6)


def test_a_smaller_window_may_lie_further_away() -> None:
    null = Null(window=500, mean=0.02, variance=1e-4)
    assert null.threshold(0.01, window=100, examples=1000) > null.threshold(0.01, window=500, examples=1000)


def test_requests_like_the_reference_do_not_drift(reference: Reference) -> None:
    assert not [score for seed in range(20) for score in scored(reference, 500, seed=100 + seed) if score.drifted]


def test_chance_alone_reaches_a_threshold_about_as_often_as_stated() -> None:
    stated, reached, tested = 0.05, 0, 0
    for seed in range(8):  # many references: one of them may have been drawn unluckily
        reference = Reference.fit((X,), (Y,), requests(1000, seed=seed))
        for window in range(5):
            block = Window(reference, 500)
            for example in requests(500, seed=1000 + 10 * seed + window):
                block.add(example_features((X,), (Y,), *example))
            for score in scores_of(reference, block.blocks(), 1.0):
                tested += 1
                reached += score.p_value < stated
    assert 0.02 < reached / tested < 0.1


def test_a_shifted_input_is_found_within_one_window_and_named(reference: Reference) -> None:
    drifted = {score.feature for score in scored(reference, 500, seed=7, shift=0.8) if score.drifted}
    assert {"x.0", "y.label"} <= drifted
    assert not drifted & {"x.1", "x.2"}


def test_a_changed_dependence_is_found_though_no_single_feature_changes(reference: Reference) -> None:
    drifted = {score.feature for score in scored(reference, 500, seed=7, twist=True) if score.drifted}
    assert drifted == {JOINT}


def visits(
    count: int, size: int, seed: int, *, alike: float = 0.5, shift: float = 0.0
) -> tuple[list[tuple[Mapping[str, Array], Mapping[str, Array]]], list[int]]:
    """Requests of ``count`` visitors, each with as many that are alike, and which visitor's each is."""
    rng = np.random.default_rng(seed)
    found: list[tuple[Mapping[str, Array], Mapping[str, Array]]] = []
    groups: list[int] = []
    for visitor in range(count):
        centre = rng.normal(shift, alike, size=3)
        for x in rng.normal(centre, math.sqrt(1 - alike**2), size=(size, 3)).astype(np.float32):
            high = 1 / (1 + math.exp(-3 * float(x[0])))
            found.append(({"x": x}, {"y": np.array([1 - high, high], dtype=np.float32)}))
            groups.append(visitor)
    return found, groups


def alarmed(reference: Reference, seed: int, size: int = 10, *, shift: float = 0.0) -> bool:
    """Whether a window of 500 requests, in visits of a size, is said to have drifted."""
    window = Window(reference, 500)
    for example in visits(500 // size, size, seed, shift=shift)[0]:
        window.add(example_features((X,), (Y,), *example))
    return any(score.drifted for score in scores_of(reference, window.blocks(), ALARMS))


def test_requests_that_come_in_groups_raise_no_alarm_where_the_reference_has_such_groups() -> None:
    examples, groups = visits(100, 10, seed=1)
    alone, grouped = Reference.fit((X,), (Y,), examples), Reference.fit((X,), (Y,), examples, groups)
    assert (alone.groups, grouped.groups) == (None, 100)
    assert grouped.design_effect > 2
    assert not any(alarmed(grouped, seed) for seed in range(100, 120))
    single = Window(alone, 500)
    for example in visits(25, 20, seed=103)[0]:
        single.add(example_features((X,), (Y,), *example))
    together = [merged(alone, single.blocks())]
    assert any(score.drifted for score in scores_of(alone, together, ALARMS))


def test_a_shift_of_requests_that_come_in_groups_is_found() -> None:
    examples, groups = visits(100, 10, seed=1)
    reference = Reference.fit((X,), (Y,), examples, groups)
    assert all(alarmed(reference, seed, shift=0.8) for seed in range(100, 110))


def test_where_no_group_is_known_thresholds_follow_how_the_requests_cluster(reference: Reference) -> None:
    def excess(size: int, seed: int) -> float:
        window = Window(reference, 500)
        for example in visits(500 // size, size, seed)[0]:
            window.add(example_features((X,), (Y,), *example))
        return excess_clustering(reference, window.blocks())

    alone, together = ([excess(size, seed) for seed in range(8)] for size in (1, 50))
    assert min(alone) >= 1
    assert np.mean(alone) < 1.5
    assert np.mean(together) > 3
    few = [Window(reference, 10).blocks()[0]]
    assert excess_clustering(reference, few) == 1


def test_an_embedding_that_moves_is_found_though_its_mean_and_spread_stay() -> None:
    spec = TensorSpec(name="embedding", dtype="float32", shape=("batch", 128))

    def points(count: int, seed: int, moved: float) -> Iterator[tuple[Mapping[str, Array], Mapping[str, Array]]]:
        rng = np.random.default_rng(seed)
        way = moved * np.tile([1, -1], 64)
        for _ in range(count):
            yield {"x": rng.normal(size=3)}, {"embedding": rng.normal(size=128) + way}

    reference = Reference.fit((X,), (spec,), points(1000, 1, 0.0))
    assert {f"embedding.{index}" for index in range(8)} <= reference.features.keys()
    for moved, found in ((0.0, False), (0.7, True)):
        window = Window(reference, 500)
        for example in points(500, 2, moved):
            window.add(example_features((X,), (spec,), *example))
        drifted = {score.feature for score in scores_of(reference, window.blocks(), ALARMS) if score.drifted}
        assert any(name.startswith(("embedding", JOINT)) for name in drifted) is found


def test_groups_are_numbered_alike_whatever_they_are_called() -> None:
    examples, groups = visits(10, 10, seed=1)
    names = [f"visitor {group}" for group in groups]
    assert Reference.fit((X,), (Y,), examples, groups) == Reference.fit((X,), (Y,), examples, names)


def test_a_feature_that_never_varied_may_vary_once_without_alarm() -> None:
    def flags(ones: int) -> Iterator[tuple[Mapping[str, Array], Mapping[str, Array]]]:
        for index in range(500):
            yield {"x": np.array([index < ones, 0, 0], dtype=np.float32)}, {}

    reference = Reference.fit((X,), (), flags(0))
    for ones, alarmed in ((1, False), (250, True)):
        window = Window(reference, 500)
        for example in flags(ones):
            window.add(example_features((X,), (), *example))
        scores = scores_of(reference, window.blocks(), ALARMS)
        assert any(score.drifted for score in scores if score.feature == "x.0") is alarmed


def test_a_window_forgets_its_oldest_block(reference: Reference) -> None:
    window = Window(reference, 50)
    full = [window.add(example_features((X,), (Y,), *example)) for example in requests(75, seed=3)]
    assert full.count(True) == 7
    assert window.requests == 10 * BLOCKS + 5
    assert merged(reference, window.blocks(newest=12)).requests == 15


def test_merged_blocks_count_what_both_counted(reference: Reference) -> None:
    left, right, both = (Window(reference, 500) for _ in range(3))
    for index, example in enumerate(requests(60, seed=4)):
        found = example_features((X,), (Y,), *example)
        (left if index % 2 else right).add(found)
        both.add(found)
    apart = merged(reference, [*left.blocks(), *right.blocks()])
    together = merged(reference, both.blocks())
    assert apart.requests == together.requests == 60
    assert all((apart.histograms[name] == counts).all() for name, counts in together.histograms.items())


def test_too_few_examples_make_no_thresholds() -> None:
    few = Reference.fit((X,), (Y,), requests(10, seed=1))
    assert few.joint is None
    assert not any(feature.null for feature in few.features.values())
