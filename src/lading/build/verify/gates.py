"""May a variant be served? Verdicts on measurements, in sentences with numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lading.artifact.manifest import Measurement
from lading.build.quantize.recipes import recipe_of
from lading.build.verify.drop import enough_examples
from lading.build.verify.timing import interval
from lading.spec import Budget, Variant

FP32 = "fp32"
_SLACK = 1e-9
"""Scores are shares of counts: a drop of exactly the allowed size passes."""


@dataclass(frozen=True)
class Candidate:
    """A variant as the gates see it."""

    variant: Variant
    measurement: Measurement | None
    problem: str | None = None
    """Why it could not be built or run."""


def judge(candidate: Candidate, fp32: Measurement | None, budget: Budget, split: str) -> tuple[str, ...]:
    """List the reasons to refuse a variant. An empty list means that it passed.

    Args:
        candidate: the variant and its measurement.
        fp32: measurement of the variant that all others are compared with.
        budget: limits from the spec.
        split: the test split to compare scores on.
    """
    variant, found = candidate.variant, candidate.measurement
    if candidate.problem:
        return (candidate.problem,)
    if found is None:
        return ("it was not measured",)
    reference = is_reference(variant)
    reasons = [] if reference or fp32 is None else _score_drop(variant, found, fp32, split)
    if reference:
        reasons.extend(below_minimum(found.scores[split], budget))
    if variant.device == "gpu" or _needs_gpu(variant):
        reasons.append("it is built for GPUs, and is never chosen on a CPU")
    elif not reference:
        reasons.extend(_gain(found, budget))
    size = found.size_bytes / 2**20
    if budget.max_size_mib is not None and size > budget.max_size_mib:
        reasons.append(f"its file of {size:.1f} MiB is larger than the {budget.max_size_mib:.1f} MiB allowed")
    alone = found.alone
    if budget.max_latency_ms is not None and alone is not None and alone.p99_ms > budget.max_latency_ms:
        reasons.append(f"its p99 of {alone.p99_ms:.2f} ms is above the {budget.max_latency_ms:.2f} ms allowed")
    return tuple(reasons)


def choose(candidates: Sequence[Candidate], reasons: Sequence[tuple[str, ...]], split: str) -> str | None:
    """Name the fastest variant that passed.

    Variants that are not measurably slower than the fastest count as equally fast. Of these, the best score wins, then
    the fastest at the largest batch that was measured, then the smallest file.
    """
    passed = [
        (candidate.variant.name, candidate.measurement)
        for candidate, why in zip(candidates, reasons, strict=True)
        if not why and candidate.measurement is not None
    ]
    if not passed:
        return None
    fastest = max((found for _, found in passed), key=lambda found: found.speedup.value)
    level = [entry for entry in passed if not _slower(entry[1], fastest)]
    return max(level, key=lambda entry: (entry[1].scores[split], -_batched_ms(entry[1]), -entry[1].size_bytes))[0]


def _batched_ms(found: Measurement) -> float:
    """Milliseconds of the largest batch that was measured on one thread."""
    return found.cost[max(found.cost)] if found.cost else 0.0


def _slower(found: Measurement, fastest: Measurement) -> bool:
    # Compare the two within each round: ratios to fp32 would add fp32's noise to both.
    low, _ = interval(np.divide(found.round_ms, fastest.round_ms))
    return low > 1


def _needs_gpu(variant: Variant) -> bool:
    return variant.quantization is not None and recipe_of(variant.quantization).device == "gpu"


def is_reference(variant: Variant) -> bool:
    """Whether this is the plain fp32 variant."""
    return variant.pruning == 0 and variant.quantization is None


def below_minimum(score: float, budget: Budget) -> list[str]:
    """The reason to refuse fp32 for its score, if there is one."""
    if budget.min_score is None or score >= budget.min_score - _SLACK:
        return []
    return [f"score {score:.4f} is below the minimum of {budget.min_score:.4f}"]


def _score_drop(variant: Variant, found: Measurement, fp32: Measurement, split: str) -> list[str]:
    drop, allowed = found.score_drop, variant.max_score_drop
    if drop is None:
        return ["its score was not compared with that of fp32"]
    if drop.high <= allowed + _SLACK:
        return []
    span = f"(95 % interval {drop.low:.4f} to {drop.high:.4f})"
    if drop.value > allowed + _SLACK:
        score, best = found.scores[split], fp32.scores[split]
        return [
            f"score {score:.4f} is {drop.value:.4f} below fp32 ({best:.4f}) {span}; at most {allowed:.4f} is allowed"
        ]
    enough = enough_examples(drop, allowed)
    cure = f"about {enough:,} examples would suffice" if enough else "no number of examples would suffice"
    return [
        f"its score is {drop.value:.4f} below fp32 {span}, and {drop.examples:,} examples of {split!r} are too few to "
        f"show that it is at most the {allowed:.4f} allowed: {cure}, or allow more with max_score_drop"
    ]


def _gain(found: Measurement, budget: Budget) -> list[str]:
    speedup, least = found.speedup, max(1.0, budget.min_speedup)
    if speedup.low > least:
        return []
    span = f"{speedup.value:.2f} times as fast as fp32 (95 % interval {speedup.low:.2f} to {speedup.high:.2f})"
    if speedup.high < 1:
        return [f"slower than fp32: {span}"]
    if least > 1:
        return [f"it is {span}; the budget needs more than {least:.2f}"]
    return [f"not faster than fp32 beyond noise: {span}"]
