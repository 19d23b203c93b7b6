"""How far a variant's score is below that of fp32, as an interval: few examples show little."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lading.artifact.manifest import ScoreDrop
from lading.build.verify.scores import Answers
from lading.errors import DataError
from lading.spec import Array, Evaluated

DRAWS = 4000
"""Draws of the interval: its ends are then off by about 3 % of their distance from the drop."""
TAIL = 0.025
"""Share of the draws beyond each end of a 95 % interval."""
_Z = 1.96
_PROBED = 32
"""Examples that show whether a score is a mean over examples, before all are scored alone."""
_LEFT_OUT = 1000
"""Most parts that are left out in turn. It bounds the calls of a score that is no mean."""
_SAME = 1e-6
"""Relative difference below which two scores are equal: float32 sums in another order."""


def score_drop(spec: Evaluated, answers: Answers, reference: str, name: str) -> ScoreDrop:
    """How much lower a variant scores than fp32 on the same examples, with the 95 % interval.

    The score of each example is taken alone where the whole score is their mean. Any other score is taken apart by
    leaving examples out (the jackknife's pseudo-values: Efron and Stein, 1981), which gives the same for a mean.
    Repeated examples count once.

    Args:
        spec: gives the score.
        answers: the answers of all variants to one split.
        reference: name of the fp32 variant.
        name: of the variant to compare.

    Raises:
        DataError: the score fails for a part of the examples, so it has no interval.
    """
    indices = answers.distinct
    score = spec.score
    parts = [_Part(answers, variant, indices) for variant in (reference, name)]
    apart = [_alone(score, part) for part in parts]
    if apart[0] is not None and apart[1] is not None:
        best, other = apart[0], apart[1]
        bounded = min(best.min(), other.min()) >= 0 and max(best.max(), other.max()) <= 1
    else:
        best, other = (_pseudo_values(score, part) for part in parts)
        bounded = False
    losses = best - other
    largest = 1.0 if bounded else _largest_loss(best, other)
    value = float(score(answers.outputs[reference], answers.targets) - score(answers.outputs[name], answers.targets))
    low, high = mean_interval(losses, largest)
    shift = value - float(losses.mean())  # not 0 where examples repeat, or the score is no mean
    return ScoreDrop(
        value=value,
        low=low + shift,
        high=high + shift,
        examples=len(indices),
        loss_deviation=float(losses.std()) * math.sqrt(len(indices) / len(losses)),
        largest_loss=largest,
    )


def mean_interval(values: Array, largest: float) -> tuple[float, float]:
    """The 95 % interval of the mean of independent numbers between ``-largest`` and ``largest``.

    A bootstrap of what was seen has no width where all numbers are equal. So one more number is added to them, as bad
    as it can be: the lowest for the lower end, the highest for the upper one. Each draw weighs the numbers with the
    gaps between sorted uniform ones (Gaffke, 2005; Learned-Miller and Thomas, arXiv:1905.06208). For numbers that are
    0 or 1 this is exactly the interval of Clopper and Pearson.

    Args:
        values: float (n,).
        largest: absolute value that no number exceeds.
    """
    distinct, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(0)
    sums, totals = np.zeros(DRAWS), np.zeros(DRAWS)
    for value, count in zip(distinct, counts, strict=True):  # a sum of exponential numbers is one of a gamma
        weights = draws.standard_gamma(count, DRAWS)
        sums += weights * value
        totals += weights
    more = draws.standard_gamma(1.0, DRAWS)
    low = np.quantile((sums - more * largest) / (totals + more), TAIL)
    high = np.quantile((sums + more * largest) / (totals + more), 1 - TAIL)
    return float(low), float(high)


def expected_margin(drop: ScoreDrop, examples: int) -> float:
    """About how far the upper end of the interval will be above the drop, with another number of examples."""
    return _Z * drop.loss_deviation / math.sqrt(max(examples, 1)) + least_margin(drop, examples)


def least_margin(drop: ScoreDrop, examples: int) -> float:
    """The same if no example loses anything: what so many examples can show at all."""
    return -math.log(TAIL) * drop.largest_loss / max(examples, 1)


def enough_examples(drop: ScoreDrop, allowed: float) -> int | None:
    """About how many examples would show that the drop is within what is allowed, if it is as it was found to be.

    Returns:
        The number, in two digits; ``None`` if no number would: the drop found is not below the allowed one.
    """
    room = allowed - max(drop.value, 0.0)
    if room <= 1e-9:
        return None
    # Solves z * deviation / sqrt(n) + log(1 / tail) * largest / n = room for 1 / sqrt(n): the second term is what the
    # added number costs where all others are equal.
    cost = -math.log(TAIL) * drop.largest_loss
    spread = _Z * drop.loss_deviation
    if cost == 0:
        return drop.examples
    root = (-spread + math.sqrt(spread**2 + 4 * cost * room)) / (2 * cost)
    wanted = math.ceil(1 / root**2)
    unit: int = 10 ** max(0, len(str(wanted)) - 2)
    return math.ceil(wanted / unit) * unit


class _Part:
    """The answers of one variant to some of the examples, of which any can be taken."""

    def __init__(self, answers: Answers, variant: str, indices: NDArray[np.int64]) -> None:
        self.answers, self.variant, self.indices = answers, variant, indices

    def __len__(self) -> int:
        return len(self.indices)

    def score(self, score: Callable[..., float], which: Sequence[int] | NDArray[np.int64] | slice) -> float:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of a mean of nothing, in a score that is not for so few examples
            return float(score(*self.answers.some(self.variant, self.indices[which])))


def _alone(score: Callable[..., float], part: _Part) -> Array | None:
    """The score of each example alone (n,); ``None`` if the score of all is not their mean."""
    found = np.zeros(len(part))
    try:
        for end in dict.fromkeys((min(_PROBED, len(part)), len(part))):
            start = _PROBED if end > _PROBED else 0
            found[start:end] = [part.score(score, slice(index, index + 1)) for index in range(start, end)]
            whole, mean = part.score(score, slice(0, end)), float(found[:end].mean())
            scale = max(abs(whole), float(np.abs(found[:end]).mean()), 1e-12)
            if not np.isfinite([whole, mean]).all() or abs(whole - mean) > _SAME * scale:
                return None
    except Exception:  # The user's score may raise anything for a single example, as a rank correlation does.
        return None
    return found


def _pseudo_values(score: Callable[..., float], part: _Part) -> Array:
    """What each part of the examples adds to the score (parts,): their mean is about the score."""
    size = len(part)
    parts = min(size, _LEFT_OUT)
    member = np.arange(size) % parts
    try:
        if parts < 2:
            raise ValueError("one example is not enough")
        whole = part.score(score, slice(None))
        without = np.array([part.score(score, np.flatnonzero(member != index)) for index in range(parts)])
        if not np.isfinite(without).all():
            raise ValueError("it is not finite")
    except Exception as error:  # The user's score may raise anything.
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"the score of {size} examples has no interval: score() of a part of them fails ({reason[0][:200]}); "
            "add examples, or make it a mean over examples"
        ) from error
    return np.asarray(parts * whole - (parts - 1) * without)


def _largest_loss(best: Array, other: Array) -> float:
    """The largest loss of one example to expect, for a score whose range is not known.

    Where most examples changed, it is the largest change. A score that changes on few examples counts something: then
    it is the range of the scores of single examples, with 0.
    """
    seen = np.concatenate([best, other])
    span = float(max(seen.max(), 0.0) - min(seen.min(), 0.0))
    changes = np.abs(best - other)
    return float(changes.max()) if np.mean(changes > 1e-9 * max(span, 1e-12)) > 0.5 else span
