"""Nothing moves before both releases have ready pods and series, and the new one has the pods for its share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lading.deploy.canary.decision import Limits, ReleaseWindow
from lading.deploy.canary.evidence import Prometheus
from lading.deploy.canary.gateway import Routes
from lading.deploy.canary.preconditions import Preconditions, lane_cost
from lading.deploy.canary.release import Release
from lading.deploy.canary.rollout import Canary
from lading.deploy.kubernetes import Cluster
from lading.errors import CanaryError, CheckError, GateRefusedError, LadingError
from lading.protocol.client import ANYONE
from tests.given.api_server import ApiServer, api_server, autoscaler, endpoints, route
from tests.given.changed_artifacts import with_costs
from tests.given.counted import prometheus_that_counted
from tests.given.live_server import LiveServer, live_server
from tests.given.small_artifacts import table_artifact

GOOD = ReleaseWindow(1000, 0, 20.0)
BAD = ReleaseWindow(1000, 100, 20.0)
SECONDS_IN_LANE = " + "
A, B = "cards-a", "cards-b"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("table")
    artifact = with_costs(table_artifact(folder / "table"), folder / "measured", {1: 1.0, 4: 1.2})
    with live_server(artifact, lanes=1) as live:
        yield live


@dataclass
class Ground:
    """Two releases that are well, with 100 requests per second on two pods. A request takes 10 ms of the one lane."""

    url: str
    figures: dict[str, float] = field(
        default_factory=lambda: {
            f"count( {A}": 2.0,
            f"count( {B}": 2.0,
            "count_over_time": 20.0,
            SECONDS_IN_LANE: 0.01,
            f"rate( lading_requests {A}": 100.0,
            f"rate( lading_requests {B}": 0.0,
            "min(lading_usable_cpus": 1.0,
        }
    )
    objects: dict[str, dict[str, object]] = field(
        default_factory=lambda: {
            "httproutes/cards": route(),
            f"endpointslices/{A}": endpoints(A, 2),
            f"endpointslices/{B}": endpoints(B, 2),
        }
    )
    agreement: float = 1.0
    windows: tuple[ReleaseWindow, ...] = (GOOD, GOOD)
    room: int = 100
    dry_run: bool = False
    said: list[str] = field(default_factory=list)

    @contextmanager
    def canary(self) -> Iterator[tuple[Canary, ApiServer]]:
        found = iter(self.windows)
        with api_server(self.objects) as api, prometheus_that_counted(self.figures) as prometheus:
            api.room = self.room
            cluster = Cluster.connect(api.url)
            preconditions = Preconditions(
                Release(cluster, "serve", A),
                Release(cluster, "serve", B),
                Prometheus(prometheus),
                (f'pod="{A}"', f'pod="{B}"'),
                60,
                self.url,
                ANYONE,
                lambda: self.agreement,
                0.9,
                self.dry_run,
                self.said.append,
                patience_s=4.0,
                sleep=lambda _: None,
            )
            routes = Routes(cluster, "serve", ("httproutes/cards",), self.dry_run, self.said.append)
            yield (
                Canary(
                    *(A, B, routes, lambda: (GOOD, next(found), 1.0), Limits(), (5, 50), 0.0, 2, self.said.append),
                    preconditions=preconditions,
                ),
                api,
            )

    def refused(self) -> tuple[str, ApiServer]:
        """The sentence of a refusal before anything has moved."""
        with self.canary() as (canary, api), pytest.raises(LadingError) as error:
            canary.run()
        assert api.history == [], "a route was changed"
        assert len(str(error.value)) <= 500
        return str(error.value), api


@pytest.fixture
def ground(server: LiveServer) -> Ground:
    return Ground(server.url)


def test_two_releases_that_are_well_are_compared_and_none_is_scaled(ground: Ground) -> None:
    with ground.canary() as (canary, api):
        canary.run()
    assert api.weights() == [5, 50, 100]
    assert api.scaled == []


@pytest.mark.parametrize("name", [A, B])
@pytest.mark.parametrize("starting", [0, 2])
def test_a_release_without_ready_endpoints_is_refused(ground: Ground, name: str, starting: int) -> None:
    ground.objects[f"endpointslices/{name}"] = endpoints(name, 0, starting)
    sentence, _ = ground.refused()
    assert f"the Service {name} in the namespace serve has no ready endpoint" in sentence
    assert "nothing was moved" in sentence


def test_a_service_that_does_not_exist_is_refused(ground: Ground) -> None:
    del ground.objects[f"endpointslices/{B}"]
    assert f"the Service {B} in the namespace serve has no ready endpoint" in ground.refused()[0]


@pytest.mark.parametrize("name", [A, B])
def test_a_release_that_prometheus_does_not_scrape_is_refused(ground: Ground, name: str) -> None:
    del ground.figures[f"count( {name}"]
    assert f"has no series of {name}" in ground.refused()[0]


def test_a_step_that_is_shorter_than_two_scrapes_is_refused(ground: Ground) -> None:
    ground.figures["count_over_time"] = 1.0
    assert "less than twice in the last 60 s" in ground.refused()[0]


def test_no_prometheus_is_refused_before_anything_moves(ground: Ground) -> None:
    with ground.canary() as (canary, api):
        assert canary.preconditions is not None
        canary.preconditions.counted = Prometheus("http://127.0.0.1:1")
        with pytest.raises(CanaryError, match=r"Prometheus at http://127\.0\.0\.1:1 does not answer"):
            canary.run()
        assert api.history == []


def test_releases_that_answer_differently_are_refused_with_the_code_of_a_rollback(ground: Ground) -> None:
    ground.agreement = 0.5
    with ground.canary() as (canary, api), pytest.raises(GateRefusedError, match=r"on 50.0% of the inputs") as error:
        canary.run()
    assert api.history == []
    assert error.value.exit_code == 3


@pytest.mark.parametrize("kind", ["Accepted", "ResolvedRefs"])
def test_a_route_that_its_gateway_reports_as_broken_is_refused(ground: Ground, kind: str) -> None:
    condition = {"type": kind, "status": "False", "reason": "BackendNotFound", "message": "no Service cards-b"}
    broken = route()
    broken["status"] = {"parents": [{"parentRef": {"name": "web"}, "conditions": [condition]}]}
    ground.objects["httproutes/cards"] = broken
    assert f"{kind} is False: BackendNotFound no Service cards-b; nothing was moved" in ground.refused()[0]


def test_a_release_with_too_few_pods_and_no_autoscaler_is_refused_before_the_first_percent(ground: Ground) -> None:
    ground.objects[f"endpointslices/{B}"] = endpoints(B, 1)
    sentence, _ = ground.refused()
    assert "cards-b has 1 ready pods and needs 2 for 100 % of the requests, 100 per second" in sentence
    assert "first set replicaCount=2 by `helm upgrade`" in sentence


def test_an_autoscaler_that_may_not_add_enough_pods_is_refused_before_the_first_percent(ground: Ground) -> None:
    ground.figures[f"rate( lading_requests {A}"] = 500.0
    ground.objects[f"endpointslices/{A}"] = endpoints(A, 8)
    ground.objects[f"horizontalpodautoscalers/{B}"] = autoscaler(B, 1, 4)
    sentence, _ = ground.refused()
    assert "its autoscaler allows 4: first set autoscaling.maxReplicas=8 or more" in sentence


def test_a_release_that_an_autoscaler_owns_is_scaled_before_each_step(ground: Ground) -> None:
    ground.figures[f"rate( lading_requests {A}"] = 300.0
    ground.objects[f"endpointslices/{A}"] = endpoints(A, 6)
    ground.objects[f"endpointslices/{B}"] = endpoints(B, 1)
    ground.objects[f"horizontalpodautoscalers/{B}"] = autoscaler(B, 1, 20)
    with ground.canary() as (canary, api):
        canary.run()
    # At 60 % of a lane of 10 ms a pod answers 60 per second: 1 pod for 15, 3 for 150, 5 for 300.
    assert api.scaled == [(B, 4), (B, 6)]
    assert api.weights() == [5, 50, 100]


def test_pods_that_do_not_become_ready_give_all_requests_back(ground: Ground) -> None:
    ground.figures[f"rate( lading_requests {A}"] = 300.0
    ground.objects[f"endpointslices/{A}"] = endpoints(A, 6)
    ground.objects[f"endpointslices/{B}"] = endpoints(B, 1)
    ground.objects[f"horizontalpodautoscalers/{B}"] = autoscaler(B, 1, 20)
    ground.room = 2
    with ground.canary() as (canary, api), pytest.raises(CanaryError, match="has 2 ready pods after 4 s and needs 3"):
        canary.run()
    assert api.weights() == [5, 0]


def test_a_rollback_gives_the_old_release_the_pods_back_that_its_autoscaler_removed(ground: Ground) -> None:
    ground.objects[f"horizontalpodautoscalers/{A}"] = autoscaler(A, 1, 20)
    ground.windows = (GOOD, BAD)
    with ground.canary() as (canary, api):

        def shrink(line: str) -> None:
            if "50 % of the requests" in line:
                api.objects[f"endpointslices/{A}"] = endpoints(A, 1)

        object.__setattr__(canary, "say", shrink)
        with pytest.raises(GateRefusedError, match="100 of 1000 requests failed"):
            canary.run()
    assert api.weights() == [5, 50, 0]
    assert api.scaled == [(A, 2)]


def test_a_pod_with_a_part_of_a_cpu_answers_that_part(ground: Ground) -> None:
    ground.figures[SECONDS_IN_LANE] = 0.0
    ground.objects[f"endpointslices/{B}"] = endpoints(B, 1)
    ground.figures[f"rate( lading_requests {A}"] = 0.59 / lane_cost(ground.url).seconds
    with ground.canary() as (canary, _):
        canary.run()
    ground.figures["min(lading_usable_cpus"] = 0.1
    ground.objects["httproutes/cards"] = route()
    assert "cards-b has 1 ready pods and needs 2 for" in ground.refused()[0], "cards-a's own rate is enough"


def test_what_a_pod_of_the_old_release_answers_is_asked_of_one_of_the_new(ground: Ground) -> None:
    """A slower estimate refuses no release that is as large as the old one."""
    ground.figures[SECONDS_IN_LANE] = 10.0
    with ground.canary() as (canary, api):
        canary.run()
    assert api.weights() == [5, 50, 100]


def test_a_shadow_needs_pods_for_all_requests(ground: Ground) -> None:
    ground.objects[f"endpointslices/{B}"] = endpoints(B, 1)
    ground.objects[f"horizontalpodautoscalers/{B}"] = autoscaler(B, 1, 20)
    with ground.canary() as (canary, api):
        canary.shadow()
    assert api.scaled == [(B, 3)]


def test_a_dry_run_says_what_would_be_refused_and_prints_the_patches(ground: Ground) -> None:
    ground.objects[f"endpointslices/{B}"] = endpoints(B, 0)
    ground.dry_run = True
    with ground.canary() as (canary, api):
        canary.run()
    assert api.history == []
    assert any(line.startswith("would be refused: the Service cards-b") for line in ground.said)
    assert sum(" patch " in line for line in ground.said) == 3


def test_the_cost_of_a_request_is_read_from_the_server(server: LiveServer, tmp_path: Path) -> None:
    cost = lane_cost(server.url)
    assert cost.lanes == 1
    assert cost.seconds == pytest.approx(1.2e-3 / 4 + 0.3e-3), "T(4) / 4, and HTTP and JSON"
    with live_server(table_artifact(tmp_path / "table")) as other, pytest.raises(CheckError, match="no measurements"):
        lane_cost(other.url)
