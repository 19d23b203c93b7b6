"""The interval of a score's drop holds the true drop as often as it says, also where no answer differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from lading.artifact.manifest import ScoreDrop
from lading.build.verify.drop import enough_examples, mean_interval, score_drop
from lading.build.verify.scores import Answers
from lading.errors import DataError
from lading.spec import Array
from tests.given.tiny import TinyTable

Score = Callable[[Mapping[str, Array], Mapping[str, Array]], float]


class Scored(TinyTable):
    """A model of which only the score is used."""

    def __init__(self, score: Score) -> None:
        self._score = score

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return self._score(outputs, targets)


def share(outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
    return float(np.mean(outputs["value"] == targets["value"]))


def percent(outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
    return 100 * share(outputs, targets)


def explained(outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
    """1 - MAE / MAE of the mean: not a mean over examples."""
    wanted = targets["value"]
    return 1 - float(np.abs(outputs["value"] - wanted).mean() / np.abs(wanted - wanted.mean()).mean())


def f1(outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
    got, wanted = outputs["value"], targets["value"]
    return float(2 * (got * wanted).sum() / max((got + wanted).sum(), 1))


def answers(fp32: Array, other: Array, truths: Array, seen: Array | None = None) -> Answers:
    prints = tuple(str(one).encode() for one in (range(len(truths)) if seen is None else seen))
    return Answers({"fp32": {"value": fp32}, "int8": {"value": other}}, {"value": truths}, len(truths), prints)


def drop(score: Score, found: Answers) -> ScoreDrop:
    return score_drop(Scored(score), found, "fp32", "int8")


def pairs(lost: float, won: float) -> Callable[[np.random.Generator, int], NDArray[np.float64]]:
    return lambda rng, size: rng.choice([1.0, -1.0, 0.0], size, p=[lost, won, 1 - lost - won])


def rare(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Small changes everywhere, and one answer in thirty is lost."""
    return np.where(rng.random(size) < 1 / 30, 1.0, rng.normal(0, 0.001, size))


@pytest.mark.parametrize("size", [30, 300, 2000])
@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (pairs(0.0, 0.0), 0.0),
        (pairs(0.01, 0.0), 0.01),
        (pairs(0.015, 0.006), 0.009),
        (pairs(0.2, 0.1), 0.1),
        (rare, 1 / 30),
    ],
    ids=["no change", "few losses", "losses and gains", "many changes", "rare large losses"],
)
def test_the_interval_holds_the_true_mean_in_95_of_100_samples(
    draw: Callable[[np.random.Generator, int], NDArray[np.float64]], mean: float, size: int
) -> None:
    rng, trials = np.random.default_rng(size), (30 if size == 2000 else 100) if draw is rare else 300
    intervals = np.array([mean_interval(draw(rng, size), 1.0) for _ in range(trials)])
    above, below = np.mean(intervals[:, 1] < mean), np.mean(intervals[:, 0] > mean)
    # Each end may miss 2.5 %; of 300 samples, 5 % is nearly three standard errors more.
    assert above <= 0.05
    assert below <= 0.05


@pytest.mark.parametrize(("lost", "size"), [(0, 48), (0, 367), (3, 200), (40, 2120)])
def test_for_lost_answers_alone_it_is_the_exact_interval_of_clopper_and_pearson(lost: int, size: int) -> None:
    low, high = mean_interval(np.repeat([1.0, 0.0], [lost, size - lost]), 1.0)
    at_most = sum(math.comb(size, count) * high**count * (1 - high) ** (size - count) for count in range(lost + 1))
    assert at_most == pytest.approx(0.025, abs=0.004)
    assert low < lost / size < high


def test_answers_that_never_differ_have_an_interval_that_few_examples_make_wide() -> None:
    for size, most in ((48, 0.08), (370, 0.0103), (3000, 0.0013)):
        same = np.ones(size)
        found = drop(share, answers(same, same, same))
        assert found.value == 0
        assert most / 1.3 < found.high < most


def test_scores_in_percent_have_the_interval_of_shares() -> None:
    truths, other = np.ones(500), np.ones(500)
    other[::100] = 0
    shares, percents = drop(share, answers(truths, other, truths)), drop(percent, answers(truths, other, truths))
    assert percents.high == pytest.approx(100 * shares.high)
    assert percents.largest_loss == 100


def test_the_interval_of_a_score_that_is_no_mean_holds_the_true_drop() -> None:
    def sample(rng: np.random.Generator, size: int) -> Answers:
        truths = rng.normal(0, 1, size)
        fp32 = truths + rng.normal(0, 0.1, size)
        return answers(fp32, fp32 + rng.normal(0, 0.05, size), truths)

    rng = np.random.default_rng(0)
    many = sample(rng, 200_000)
    truth = explained(many.outputs["fp32"], many.targets) - explained(many.outputs["int8"], many.targets)
    found = [drop(explained, sample(rng, 80)) for _ in range(100)]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.9
    assert np.mean([one.high - one.low for one in found]) < 0.05


def test_a_score_that_is_nan_for_a_single_example_is_taken_apart_by_leaving_examples_out() -> None:
    def balanced(outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        right = outputs["value"] == targets["value"]
        return float(np.mean([right[targets["value"] == label].mean() for label in (0, 1)]))

    truths = np.arange(400) % 2.0
    other = truths.copy()
    other[:4] = 0.5
    found = drop(balanced, answers(truths, other, truths))
    assert found.value == pytest.approx(0.01)
    assert found.low < found.value < found.high < 0.05


def test_a_score_that_counts_and_is_no_mean_is_not_certain_where_nothing_changed() -> None:
    truths = np.arange(200) % 2.0
    found = drop(f1, answers(truths, truths, truths))
    assert found.value == 0
    assert found.high > 0.01


@pytest.mark.parametrize("size", [1, 5])
def test_a_score_that_fails_on_a_part_of_the_examples_has_no_interval_and_says_why(size: int) -> None:
    def needs_all(outputs: Mapping[str, Array], _targets: Mapping[str, Array]) -> float:
        if len(outputs["value"]) < size:
            raise ValueError("too few rows")
        return float(np.median(outputs["value"]))

    if size == 1:
        with pytest.raises(DataError, match="one example is not enough"):
            drop(f1, answers(np.array([np.nan]), np.ones(1), np.ones(1)))
    else:
        with pytest.raises(DataError, match=r"the score of 5 examples has no interval: .*too few rows"):
            drop(needs_all, answers(np.arange(5.0) + 3, np.arange(5.0), np.ones(5)))


def test_repeated_examples_count_once() -> None:
    truths = np.ones(400)
    found = drop(share, answers(truths, truths, truths, seen=np.arange(400) % 40))
    assert found.examples == 40
    assert found.high == drop(share, answers(np.ones(40), np.ones(40), np.ones(40))).high


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (5, 3), (4, 0)])
def test_as_many_examples_as_would_suffice_do(lost: int, won: int) -> None:
    def of(times: float) -> Answers:
        size = round(500 * times)
        fp32, other = np.ones(size), np.ones(size)
        other[: round(lost * times)] = 0
        fp32[size - round(won * times) :] = 0
        return answers(fp32, other, np.ones(size))

    allowed = 0.0101 if lost == won else 0.0125
    enough = enough_examples(drop(share, of(1)), allowed)
    assert enough is not None
    assert drop(share, of(enough / 500)).high <= allowed * 1.01
    assert drop(share, of(0.7 * enough / 500)).high > allowed


def test_a_drop_that_is_not_below_the_allowed_one_is_not_shown_by_more_examples() -> None:
    truths, other = np.ones(100), np.ones(100)
    other[:2] = 0
    assert enough_examples(drop(share, answers(truths, other, truths)), 0.02) is None


def test_examples_with_several_rows_an_output_are_taken_whole() -> None:
    found = Answers(
        {"fp32": {"nodes": np.arange(6), "edges": np.arange(12).reshape(2, 6)}},
        {"size": np.array([1, 2, 3])},
        3,
        (b"a", b"b", b"c"),
        {"nodes": [0, 1, 3, 6], "edges": [0, 1, 3, 6]},
        {"edges": 1},
    )
    outputs, targets = found.some("fp32", np.array([0, 2]))
    assert outputs["nodes"].tolist() == [0, 3, 4, 5]
    assert outputs["edges"].tolist() == [[0, 3, 4, 5], [6, 9, 10, 11]]
    assert targets["size"].tolist() == [1, 3]
