"""Move requests to a new release step by step, and back if it is worse."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from lading.deploy.canary.decision import Decision, Limits, ReleaseWindow, decide
from lading.deploy.canary.gateway import Routes, current_weights, mirror_patch, refuse_broken, weights_patch
from lading.deploy.canary.preconditions import Preconditions
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
    preconditions: Preconditions | None = None
    """What must be true before requests move; ``None``: nothing is checked."""

    def run(self) -> None:
        """Move the requests step by step. At the end the new release has all of them.

        Raises:
            GateRefusedError: the new release is worse, or there was too little data. The old one has all requests.
            CanaryError: a precondition is not met, and if it is one of the first step, no request has moved. Or the
                requests could not be given back.
            KubernetesError: a route could not be read or changed.
        """
        self._look_first(self.steps[0])
        with _Back(self._give_back):
            for percent in self.steps:
                if percent != self.steps[0]:
                    self._make_room(percent)
                self._weigh(percent)
                self._judge(f"{percent} % of the requests")
            self._make_room(WHOLE)
            self._weigh(WHOLE)
        self._tell(f"{self.canary} is promoted and has all requests. {self.stable} still runs, for a way back.")

    def shadow(self) -> None:
        """Mirror every request to the new release for one step, compare, and stop mirroring.

        Raises:
            GateRefusedError: the new release is worse, or there was too little data.
            CanaryError: a precondition is not met, and nothing was mirrored.
        """
        self._look_first(WHOLE)
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

    def _look_first(self, percent: int) -> None:
        """Nothing has moved yet, so whatever is refused here changes no route."""
        self._refuse_an_empty_side()
        if self.preconditions is not None:
            self.preconditions.look()
        self._make_room(percent)

    def _make_room(self, percent: int) -> None:
        if self.preconditions is not None:
            self.preconditions.make_room(percent)

    def _give_back(self) -> None:
        self._weigh(0)
        if self.preconditions is None:
            return
        try:
            self.preconditions.restore()
        except LadingError as error:
            self.say(f"{self.stable} has all requests, but may have too few pods: {error}")

    def _tell(self, done: str) -> None:
        """Report a change. A dry run makes none."""
        if not self.routes.dry_run:
            self.say(done)

    def _refuse_an_empty_side(self) -> None:
        """With the arguments in the wrong order, nearly all requests would move to a release that may have no pods."""
        routes = self.routes.read()
        for route in routes:
            refuse_broken(route)
        weights = [current_weights(route, (self.stable, self.canary)) for route in routes]
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
            raise CanaryError(
                f"the requests could NOT be given back ({second}), so look at the routes now. Before that: {error}"
            ) from error


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
