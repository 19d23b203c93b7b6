"""The steps of a canary: give the new release a share, wait, compare, and go on, promote or roll back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from lading.canary.decide import Decision, Limits, Window, decide
from lading.canary.route import Routes, current_weights, mirror_patch, weights_patch
from lading.errors import CanaryError, GateRefusedError, LadingError

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
