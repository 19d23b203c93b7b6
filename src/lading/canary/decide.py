"""Whether a new release may take more requests: a pure function of what was counted of both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["go on", "wait", "roll back"]

Z = 1.645
"""Of a one-sided 95 % bound."""


@dataclass(frozen=True)
class Window:
    """What one release answered in the time that is looked at."""

    requests: int
    errors: int
    """Of these: 5xx, and 429, for whoever asked got no answer."""
    p99_ms: float | None
    """``None`` when there is none yet."""


@dataclass(frozen=True)
class Limits:
    """How much worse the new release may be."""

    min_requests: int = 200
    """Fewer than these of the new release prove nothing."""
    errors: float = 0.001
    """Share of errors above that of the release before it, 0 to 1."""
    p99_ratio: float = 1.25
    p99_slack_ms: float = 2.0
    """A p99 that is less than this above the other is not worse, whatever the ratio."""
    agreement: float = 0.9
    """Least share of the inputs on which both answer the same, 0 to 1."""


@dataclass(frozen=True)
class Decision:
    """What to do, and why."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    """A sentence for each thing that was looked at."""
    because: tuple[str, ...] = ()
    """Those that led to the verdict."""


def decide(stable: Window, canary: Window, agreement: float | None, limits: Limits) -> Decision:
    """Compare the new release with the one before it.

    It is rolled back as soon as one thing is certainly worse, goes on when nothing is, and waits while there is too
    little to say. Errors are compared by the Wilson score bounds of their share [1]_: rolled back when even the lower
    bound is above what is allowed.

    .. [1] https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval

    Args:
        stable: what the release before it answered.
        canary: what the new one answered in the same time.
        agreement: share of inputs on which both answer the same; ``None`` when it was not asked for.
        limits: how much worse is allowed.
    """
    looked = [_agreement(agreement, limits), _errors(stable, canary, limits), _latency(stable, canary, limits)]
    found = [one for one in looked if one is not None]
    reasons = tuple(sentence for _, sentence in found)
    order: tuple[Verdict, ...] = ("roll back", "wait")
    for verdict in order:
        if any(one == verdict for one, _ in found):
            return Decision(verdict, reasons, tuple(sentence for own, sentence in found if own == verdict))
    return Decision("go on", reasons, reasons)


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
    sentence = f"both answer the same on {agreement:.1%} of the inputs; at least {limits.agreement:.1%} is asked for"
    return ("go on" if agreement >= limits.agreement else "roll back"), sentence


def _errors(stable: Window, canary: Window, limits: Limits) -> tuple[Verdict, str]:
    before = stable.errors / stable.requests if stable.requests else 0.0
    allowed = min(1.0, before + limits.errors)
    least, _ = wilson(canary.errors, canary.requests)
    share = canary.errors / canary.requests if canary.requests else 0.0
    sentence = (
        f"{canary.errors} of {canary.requests} requests failed ({share:.2%}); {before:.2%} before, "
        f"{allowed:.2%} is allowed"
    )
    if least > allowed:
        return "roll back", sentence
    if canary.requests < limits.min_requests:
        return "wait", f"{canary.requests} of the {limits.min_requests} requests that are needed; {sentence}"
    # More than allowed, and not yet certain.
    return ("go on" if share <= allowed else "wait"), sentence


def _latency(stable: Window, canary: Window, limits: Limits) -> tuple[Verdict, str]:
    if canary.requests < limits.min_requests or canary.p99_ms is None:
        return "wait", "too few requests for a p99"
    if stable.p99_ms is None:
        return "wait", "the release before it has no p99 to compare with"
    allowed = max(stable.p99_ms * limits.p99_ratio, stable.p99_ms + limits.p99_slack_ms)
    sentence = f"p99 is {canary.p99_ms:.1f} ms; {stable.p99_ms:.1f} ms before, {allowed:.1f} ms is allowed"
    return ("go on" if canary.p99_ms <= allowed else "roll back"), sentence
