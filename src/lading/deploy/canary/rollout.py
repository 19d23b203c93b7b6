"""Moves requests to a new release step by step, and back when it is worse."""

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
    look: Callable[[], tuple[Window, Window, float | None]]
    """What both answered lately, and how far they agree."""
    limits: Limits
    steps: Sequence[int]
    """Percent of the requests that the new release gets, one after the other; then all."""
    wait_s: float
    """Between a change and the first look, and between looks."""
    patience: int
    """Looks at a step that may end with "wait"; a release about which nothing can be said is rolled back."""
    say: Callable[[str], None]
    sleep: Callable[[float], None] = field(default=time.sleep)

    def run(self) -> None:
        """Move the requests step by step; at the end the new release has all of them.

        Raises:
            GateRefusedError: it is worse, or nothing could be said: the release before has all of them again.
            CanaryError: a route could not be read or changed.
        """
        self._refuse_an_empty_side()
        with _Back(partial(self._weigh, 0)):
            for percent in self.steps:
                self._weigh(percent)
                self._judge(f"{percent} % of the requests")
            self._weigh(WHOLE)
        self._tell(f"{self.canary} is promoted. {self.stable} has no requests now, and may take them back.")

    def shadow(self) -> None:
        """Mirror every request to the new release for one step, compare, and mirror no longer.

        Raises:
            GateRefusedError: it is worse, or nothing could be said.
        """
        self._refuse_an_empty_side()
        stop = partial(self._mirror, on=False)
        with _Back(stop):
            self._mirror(on=True)
            self._judge("a copy of every request")
        stop()
        self._tell(f"{self.canary} answered a copy of every request, and is no worse than {self.stable}.")

    def _judge(self, share: str) -> None:
        decision = Decision("wait")
        for look in range(1, self.patience + 1):
            if self.routes.dry_run:
                self.say(f"would wait {self.wait_s:g} s, and compare both at {share}")
                return
            self.sleep(self.wait_s)
            decision = decide(*self.look(), self.limits)
            self.say(f"{self.canary} with {share}, look {look} of {self.patience}: {decision.verdict}")
            for reason in decision.reasons:
                self.say(f"  {reason}")
            if decision.verdict == "go on":
                return
            if decision.verdict == "roll back":
                break
        why = "; ".join(decision.because)
        unsure = "it is worse" if decision.verdict == "roll back" else f"{self.patience} looks showed too little"
        raise GateRefusedError(f"{self.canary} is rolled back, {unsure}: {why}")

    def _weigh(self, percent: int) -> None:
        weights = {self.stable: WHOLE - percent, self.canary: percent}
        self.routes.change(partial(weights_patch, weights=weights))
        self._tell(f"{self.canary} gets {percent} % of the requests")

    def _mirror(self, *, on: bool) -> None:
        self.routes.change(partial(mirror_patch, stable=self.stable, canary=self.canary, on=on))
        self._tell(f"{self.canary} gets {'a copy of every request' if on else 'no copies any more'}")

    def _tell(self, done: str) -> None:
        """Say what was done; a dry run does nothing."""
        if not self.routes.dry_run:
            self.say(done)

    def _refuse_an_empty_side(self) -> None:
        """The wrong order would give nearly all requests to a release that has none, and perhaps no pods."""
        weights = [current_weights(route, (self.stable, self.canary)) for route in self.routes.read()]
        if any(one[self.stable] == 0 for one in weights):
            raise CanaryError(
                f"{self.stable} has no requests that could be moved: "
                f"was `lading canary {self.canary} {self.stable}` meant?"
            )


@dataclass(frozen=True)
class _Back:
    """Undo when the block fails, whatever failed: a canary must not be left half way."""

    undo: Callable[[], None]

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None:
            return
        try:
            self.undo()
        except LadingError as second:
            error.add_note(f"and the route could not be set back: {second}")
            raise error from second


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


def read_steps(text: str) -> tuple[int, ...]:
    """Percentages that grow, each 1 to 99.

    Raises:
        SettingsError: they are not.
    """
    try:
        steps = tuple(int(word) for word in text.split(","))
    except ValueError:
        steps = ()
    if not steps or steps[0] < 1 or steps[-1] > 99 or list(steps) != sorted(set(steps)):
        raise SettingsError(f"--steps {text!r}: percentages from 1 to 99 that grow, for example 5,25,50")
    return steps
