"""Move requests to a new release step by step, and back if it is worse."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from lading.deploy.canary.gateway import Routes, current_weights, mirror_patch, weights_patch
from lading.errors import CanaryError, GateRefusedError, LadingError, SettingsError

WHOLE = 100


@dataclass(frozen=True)
class Canary:
    """Two releases, and how the second replaces the first."""

    stable: str
    canary: str
    """Names of their Services."""
    routes: Routes
    look: Callable[[], tuple[ReleaseWindow, ReleaseWindow, float | None]]
    """Measure both releases over the last step, and the agreement of their answers."""
    limits: Limits
    steps: Sequence[int]
    """Percent of the requests for the new release, step by step. After the last step it gets all."""
    wait_s: float
    """Seconds between a change and the first comparison, and between comparisons."""
    patience: int
    """Maximum comparisons per step. If the last one still lacks data, the release is rolled back."""
    say: Callable[[str], None]
    sleep: Callable[[float], None] = field(default=time.sleep)

    def run(self) -> None:
        """Move the requests step by step. At the end the new release has all of them.

        Raises:
            GateRefusedError: the new release is worse, or there was too little data. The old one has all requests.
            CanaryError: the routes or Prometheus do not fit.
            KubernetesError: a route could not be read or changed.
        """
        self._refuse_an_empty_side()
        with _Back(partial(self._weigh, 0)):
            for percent in self.steps:
                self._weigh(percent)
                self._judge(f"{percent} % of the requests")
            self._weigh(WHOLE)
        self._tell(f"{self.canary} is promoted and has all requests. {self.stable} still runs, for a way back.")

    def shadow(self) -> None:
        """Mirror every request to the new release for one step, compare, and stop mirroring.

        Raises:
            GateRefusedError: the new release is worse, or there was too little data.
        """
        self._refuse_an_empty_side()
        stop = partial(self._mirror, on=False)
        with _Back(stop):
            self._mirror(on=True)
            self._judge("a copy of every request")
        stop()
        self._tell(f"{self.canary} answered a copy of every request and is no worse than {self.stable}.")

    def _judge(self, share: str) -> None:
        decision = Decision("wait")
        for look in range(1, self.patience + 1):
            if self.routes.dry_run:
                self.say(f"would wait {self.wait_s:g} s and compare both releases at {share}")
                return
            self.sleep(self.wait_s)
            decision = decide(*self.look(), self.limits)
            self.say(f"{self.canary} with {share}, comparison {look} of {self.patience}: {decision.verdict}")
            for reason in decision.reasons:
                self.say(f"  {reason}")
            if decision.verdict == "continue":
                return
            if decision.verdict == "roll back":
                break
        why = "; ".join(decision.because)
        worse = decision.verdict == "roll back"
        cause = "it is worse" if worse else f"too little data after {self.patience} comparisons"
        raise GateRefusedError(f"{self.canary} is rolled back, {cause}: {why}")

    def _weigh(self, percent: int) -> None:
        weights = {self.stable: WHOLE - percent, self.canary: percent}
        self.routes.change(partial(weights_patch, weights=weights))
        self._tell(f"{self.canary} gets {percent} % of the requests")

    def _mirror(self, *, on: bool) -> None:
        self.routes.change(partial(mirror_patch, stable=self.stable, canary=self.canary, on=on))
        self._tell(f"{self.canary} gets {'a copy of every request' if on else 'no more copies'}")

    def _tell(self, done: str) -> None:
        """Report a change. A dry run makes none."""
        if not self.routes.dry_run:
            self.say(done)

    def _refuse_an_empty_side(self) -> None:
        """With the arguments in the wrong order, nearly all requests would move to a release that may have no pods."""
        weights = [current_weights(route, (self.stable, self.canary)) for route in self.routes.read()]
        if any(one[self.stable] == 0 for one in weights):
            raise CanaryError(
                f"{self.stable} gets no requests, so none can move to {self.canary}: "
                f"did you mean `lading canary {self.canary} {self.stable}`?"
            )


@dataclass(frozen=True)
class _Back:
    """Undo the change if the block fails for any reason, so that no canary stays half way."""

    undo: Callable[[], None]

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None:
            return
        try:
            self.undo()
        except LadingError as second:
            error.add_note(f"and the route could not be restored: {second}")
            raise error from second


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


def read_steps(text: str) -> tuple[int, ...]:
    """Parse growing percentages, each 1 to 99.

    Raises:
        SettingsError: they do not grow, or are out of range.
    """
    try:
        steps = tuple(int(word) for word in text.split(","))
    except ValueError:
        steps = ()
    if not steps or steps[0] < 1 or steps[-1] > 99 or list(steps) != sorted(set(steps)):
        raise SettingsError(f"--steps {text!r}: write growing percentages from 1 to 99, for example 5,25,50")
    return steps
