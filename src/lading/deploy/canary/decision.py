"""Whether a new release continues, waits or is rolled back, by what both releases answered."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["continue", "wait", "roll back"]

Z = 1.645
"""Quantile of the normal distribution for a one-sided 95 % bound."""


@dataclass(frozen=True)
class ReleaseWindow:
    """The requests to one release in the time that is compared."""

    requests: int
    errors: int
    """Requests that got no answer: 5xx and 429."""
    p99_ms: float | None
    """``None`` without requests."""


@dataclass(frozen=True)
class Limits:
    """How much worse the new release may be."""

    min_requests: int = 200
    """Minimum requests to the new release before it is compared."""
    errors: float = 0.001
    """Maximum increase of the share of errors over the old release, 0 to 1."""
    p99_ratio: float = 1.25
    p99_slack_ms: float = 2.0
    """A p99 that exceeds the other by less than this is not worse, whatever the ratio."""
    agreement: float = 0.9
    """Minimum share of the inputs on which both give the same answer, 0 to 1."""


@dataclass(frozen=True)
class Decision:
    """What to do, and why."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    """A sentence per comparison."""
    because: tuple[str, ...] = ()
    """The sentences that led to the verdict."""


def decide(stable: ReleaseWindow, canary: ReleaseWindow, agreement: float | None, limits: Limits) -> Decision:
    """Compare the new release with the old one.

    Roll back as soon as one figure is certainly worse, continue when none is, and wait while there is too little data.
    Errors are compared by the Wilson score bounds of their share [1]_: roll back when even the lower bound is above the
    limit.

    .. [1] https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval

    Args:
        stable: requests to the old release.
        canary: requests to the new release in the same time.
        agreement: share of inputs on which both give the same answer; ``None``: not compared.
        limits: how much worse the new release may be.
    """
    looked = [_agreement(agreement, limits), _errors(stable, canary, limits), _latency(stable, canary, limits)]
    found = [one for one in looked if one is not None]
    reasons = tuple(sentence for _, sentence in found)
    order: tuple[Verdict, ...] = ("roll back", "wait")
    for verdict in order:
        if any(one == verdict for one, _ in found):
            return Decision(verdict, reasons, tuple(sentence for own, sentence in found if own == verdict))
    return Decision("continue", reasons, reasons)


def wilson(errors: int, requests: int) -> tuple[float, float]:
    """The one-sided 95 % bounds of a share, each 0 to 1."""
    if requests == 0:
        return 0.0, 1.0
    share, square = errors / requests, Z * Z / requests
    middle = share + square / 2
    half = Z * math.sqrt(share * (1 - share) / requests + square / (4 * requests))
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


def _agreement(agreement: float | None, limits: Limits) -> tuple[Verdict, str] | None:
    if agreement is None:
        return None
    sentence = f"both answer the same on {agreement:.1%} of the inputs; the minimum is {limits.agreement:.1%}"
    return ("continue" if agreement >= limits.agreement else "roll back"), sentence


def _errors(stable: ReleaseWindow, canary: ReleaseWindow, limits: Limits) -> tuple[Verdict, str]:
    before = stable.errors / stable.requests if stable.requests else 0.0
    allowed = min(1.0, before + limits.errors)
    least, _ = wilson(canary.errors, canary.requests)
    share = canary.errors / canary.requests if canary.requests else 0.0
    sentence = (
        f"{canary.errors} of {canary.requests} requests failed ({share:.2%}); {before:.2%} before, "
        f"the limit is {allowed:.2%}"
    )
    if least > allowed:
        return "roll back", sentence
    if canary.requests < limits.min_requests:
        return "wait", f"{canary.requests} of the required {limits.min_requests} requests; {sentence}"
    # Above the limit is not yet certain.
    return ("continue" if share <= allowed else "wait"), sentence


def _latency(stable: ReleaseWindow, canary: ReleaseWindow, limits: Limits) -> tuple[Verdict, str]:
    if canary.requests < limits.min_requests or canary.p99_ms is None:
        return "wait", "too few requests for a p99"
    if stable.p99_ms is None:
        return "wait", "the old release has no p99 to compare with"
    allowed = max(stable.p99_ms * limits.p99_ratio, stable.p99_ms + limits.p99_slack_ms)
    sentence = f"p99 is {canary.p99_ms:.1f} ms; {stable.p99_ms:.1f} ms before, the limit is {allowed:.1f} ms"
    return ("continue" if canary.p99_ms <= allowed else "roll back"), sentence
