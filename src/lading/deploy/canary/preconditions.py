"""What must be true before requests move: pods that are ready, figures of both releases, and pods for the share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lading.content import content_of
from lading.deploy.canary.evidence import Prometheus
from lading.deploy.canary.release import Autoscaler, Release
from lading.deploy.load.signature import from_server
from lading.deploy.values import BUSY, OVERHEAD_MS
from lading.errors import CanaryError, CheckError, GateRefusedError, LadingError
from lading.protocol.client import ANYONE, Access, Client

POLL_S = 2.0
"""Seconds between two looks at pods that start."""
SPARE = 1
"""Pods added to a release that an autoscaler owns: it sees no load yet, and may remove one before the requests come."""
WHOLE = 100


@dataclass(frozen=True)
class LaneCost:
    """What one request costs a pod, as its server says."""

    seconds: float
    """In a lane: T(b) / b, and decoding."""
    lanes: int


@dataclass
class Preconditions:
    """Looks before requests move, and makes room for them.

    Args:
        stable: the current release.
        canary: the new release.
        counted: the Prometheus that scrapes both.
        selectors: of the series of both.
        seconds: length of a step.
        url: address of the new release.
        access: its key and certificate.
        agree: measures the share of inputs on which both give the same answer; ``None``: not compared.
        min_agreement: minimum of this share.
        dry_run: say what would be refused, and scale nothing.
        say: gets a sentence for each thing that is done.
        patience_s: seconds in which new pods must become ready.
        sleep: waits.
    """

    stable: Release
    canary: Release
    counted: Prometheus
    selectors: tuple[str, str]
    seconds: int
    url: str
    access: Access
    agree: Callable[[], float] | None
    min_agreement: float
    dry_run: bool
    say: Callable[[str], None]
    patience_s: float = 300.0
    sleep: Callable[[float], None] = time.sleep
    _stable_pods: int = field(default=0, init=False)
    _seen: float = field(default=0.0, init=False)
    """Requests per second that one pod of the stable release answered before anything moved."""
    _cost: LaneCost | None = field(default=None, init=False)

    def look(self) -> None:
        """Look before the first request moves: endpoints, series, and whether there can be pods for all requests.

        Raises:
            CanaryError: a precondition is not met.
            ClientError: a release does not answer, or refuses.
            GateRefusedError: the releases answer too differently.
            KubernetesError: the API server does not answer, or refuses.
        """
        for check in (self._endpoints, self._series, self._costs, self._room_for_all, self._agreement):
            try:
                check()
            except LadingError as error:
                if not self.dry_run:
                    raise
                self.say(f"would be refused: {error}")
                return

    def make_room(self, percent: int) -> None:
        """See to it that the new release has the pods for its share. Scales one that an autoscaler owns.

        Raises:
            CanaryError: there are too few pods, and they cannot be had.
            KubernetesError: the API server does not answer, or refuses.
        """
        if self.dry_run:
            return
        needed, why = self._needed(percent)
        ready = self.canary.ready()
        if ready >= needed:
            return
        owner = self._owner_with_room(needed, ready, why)
        wanted = min(needed + SPARE, owner.maximum)
        self.say(f"{self.canary.service} has {ready} ready pods and needs {why}: scaling it to {wanted}")
        self.canary.scale(wanted)
        self._await_pods(needed, why)

    def restore(self) -> None:
        """Give the stable release the pods that it had, where its autoscaler has removed some.

        Raises:
            KubernetesError: the API server does not answer, or refuses.
        """
        if self.dry_run or not self._stable_pods:
            return
        owner = self.stable.autoscaler()
        if owner is not None and owner.wanted < self._stable_pods > self.stable.ready():
            self.stable.scale(min(self._stable_pods, owner.maximum))
            self.say(f"{self.stable.service} is scaled to {self._stable_pods} pods, as many as it had")

    def _endpoints(self) -> None:
        ready = [release.ready() for release in (self.stable, self.canary)]
        for release, pods in zip((self.stable, self.canary), ready, strict=True):
            if not pods:
                raise CanaryError(
                    f"the Service {release.service} in the namespace {release.namespace} has no ready endpoint, so "
                    f"requests to it would fail; nothing was moved: look at its pods, or name the right Service"
                )
        self._stable_pods = ready[0]

    def _series(self) -> None:
        for release, selector in zip((self.stable, self.canary), self.selectors, strict=True):
            if not self.counted.pods(selector, self.seconds):
                raise CanaryError(
                    f"Prometheus at {self.counted.url} has no series of {release.service} ({{{selector}}}), so the "
                    f"releases could not be compared; nothing was moved: set monitoring.scrape of the chart, or the "
                    f"selector"
                )
            if self.counted.scrapes(selector, self.seconds) < 2:
                raise CanaryError(
                    f"Prometheus at {self.counted.url} scraped {release.service} less than twice in the last "
                    f"{self.seconds} s, and a rate needs two scrapes; nothing was moved: make the step longer than two "
                    f"scrape intervals (--minutes), or wait that long after the release has started"
                )

    def _costs(self) -> None:
        self._seen = self.counted.rate(self.selectors[0], self.seconds) / self._stable_pods
        try:
            self._cost = lane_cost(self.url, self.access)
        except CheckError as error:
            self.say(f"{self.canary.service} does not say what a request costs ({error}): its pods are counted as ours")

    def _room_for_all(self) -> None:
        """A release without an autoscaler never gets more pods, so it needs those for all requests from the start."""
        needed, why = self._needed(WHOLE)
        ready = self.canary.ready()
        if ready < needed:
            self._owner_with_room(needed, ready, why)

    def _agreement(self) -> None:
        share = 1.0 if self.agree is None else self.agree()
        if share < self.min_agreement:
            raise GateRefusedError(
                f"{self.canary.service} answers as {self.stable.service} does on {share:.1%} of the inputs, and the "
                f"minimum is {self.min_agreement:.1%}; nothing was moved"
            )

    def _owner_with_room(self, needed: int, ready: int, why: str) -> Autoscaler:
        owner = self.canary.autoscaler()
        if owner is None:
            raise CanaryError(
                f"{self.canary.service} has {ready} ready pods and needs {why}; no autoscaler adds any: first set "
                f"replicaCount={needed} by `helm upgrade`"
            )
        if owner.maximum < needed:
            raise CanaryError(
                f"{self.canary.service} has {ready} ready pods and needs {why}; its autoscaler allows {owner.maximum}: "
                f"first set autoscaling.maxReplicas={needed} or more by `helm upgrade`"
            )
        return owner

    def _await_pods(self, needed: int, why: str) -> None:
        for _ in range(math.ceil(self.patience_s / POLL_S)):
            if self.canary.ready() >= needed:
                return
            self.sleep(POLL_S)
        ready = self.canary.ready()
        if ready < needed:
            raise CanaryError(
                f"{self.canary.service} has {ready} ready pods after {self.patience_s:g} s and needs {why}: look at "
                f"its pods and the nodes' free CPUs"
            )

    def _needed(self, percent: int) -> tuple[int, str]:
        """Pods for a share of the requests of both releases, and the reason in words."""
        rate = percent / WHOLE * sum(self.counted.rate(one, self.seconds) for one in self.selectors)
        planned = self._planned()
        per_pod = max(planned, self._seen)
        needed = max(1, math.ceil(round(rate / per_pod, 2))) if per_pod else 1
        source = f"{BUSY:.0%} busy" if planned >= self._seen else f"as one of {self.stable.service} did"
        return needed, (
            f"{needed} for {percent} % of the requests, {rate:.3g} per second: a pod answers {per_pod:.3g} ({source})"
        )

    def _planned(self) -> float:
        """Requests per second of a pod of the new release whose lanes are busy for a share :data:`BUSY` of the time.

        Verify may have measured T(b) on a faster machine, so what requests take now counts where it is more.
        """
        if self._cost is None:
            return 0.0
        cpus = self.counted.cpus(self.selectors[1]) or self._cost.lanes
        seconds = self._cost.seconds * self._cost.lanes / min(self._cost.lanes, max(cpus, 0.001))
        now = max(self.counted.lane_seconds(one, self.seconds) for one in self.selectors)
        return BUSY * self._cost.lanes / max(seconds, now)


def lane_cost(url: str, access: Access = ANYONE) -> LaneCost:
    """What a request costs, from the T(b) that a server of Lading publishes.

    Raises:
        CheckError: it publishes none.
        ClientError: it does not answer, or refuses.
    """
    served = from_server(url, access=access)
    with Client(url, access=access) as client:
        try:
            said = client.get(f"/v2/models/{served.name}").get("parameters", {})
            batch, lanes = int(said["batch"]), int(said["lanes"])
            cost_ms = {int(size): float(ms) for size, ms in said["cost_ms"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckError(f"no T(b) in its metadata: {error!r}") from None
    if not cost_ms:
        raise CheckError("its artifact has no measurements")
    per_example = cost_ms.get(batch, max(cost_ms.values())) / (batch if batch in cost_ms else 1)
    overhead = OVERHEAD_MS + sum(one.decode_ms for spec in served.inputs if (one := content_of(spec)) is not None)
    return LaneCost((per_example + overhead) / 1e3, max(1, lanes))
