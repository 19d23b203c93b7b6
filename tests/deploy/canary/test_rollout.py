"""Requests move step by step, and go back as soon as something is worse, or fails."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lading.deploy.canary.decision import Limits, ReleaseWindow
from lading.deploy.canary.gateway import Routes, current_weights, mirror_patch, weights_patch
from lading.deploy.canary.rollout import Canary, read_steps
from lading.deploy.kubernetes import Cluster
from lading.errors import CanaryError, GateRefusedError, KubernetesError, SettingsError
from tests.given.api_server import ApiServer, api_server, route

GOOD = ReleaseWindow(1000, 0, 20.0)
BAD = ReleaseWindow(1000, 100, 20.0)
FEW = ReleaseWindow(3, 0, 20.0)
BOTH = {"httproutes/cards": route(), "grpcroutes/cards": route(kind="GRPCRoute")}


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with api_server({"httproutes/cards": route()}) as server:
        yield server


def rollout(
    api: ApiServer, *canary: ReleaseWindow, dry_run: bool = False, paths: tuple[str, ...] = ("httproutes/cards",)
) -> tuple[Canary, list[str]]:
    """A canary whose looks find these windows, one after the other."""
    said: list[str] = []
    found = iter(canary)
    routes = Routes(Cluster.connect(api.url), "serve", paths, dry_run, said.append)

    def look() -> tuple[ReleaseWindow, ReleaseWindow, float | None]:
        return GOOD, next(found), 1.0

    return Canary("cards-a", "cards-b", routes, look, Limits(), (5, 50), 0.0, 2, said.append), said


def test_a_good_release_gets_more_and_more_and_then_all(api: ApiServer) -> None:
    canary, said = rollout(api, GOOD, GOOD)
    canary.run()
    assert api.weights() == [5, 50, 100]
    assert current_weights(api.objects["httproutes/cards"], ["cards-a", "cards-b"]) == {"cards-a": 0, "cards-b": 100}
    assert "promoted" in said[-1]


def test_a_bad_release_gives_all_back_and_says_why(api: ApiServer) -> None:
    canary, _ = rollout(api, GOOD, BAD)
    with pytest.raises(GateRefusedError, match=r"cards-b is rolled back, it is worse: .*100 of 1000 requests failed"):
        canary.run()
    assert api.weights() == [5, 50, 0]


def test_a_release_that_shows_too_little_is_rolled_back_after_the_last_look(api: ApiServer) -> None:
    canary, _ = rollout(api, FEW, FEW, GOOD)
    with pytest.raises(GateRefusedError, match="too little data after 2 comparisons: 3 of the required 200 requests"):
        canary.run()
    assert api.weights() == [5, 0]


@pytest.mark.parametrize("failure", [CanaryError("Prometheus does not answer"), KeyboardInterrupt(), SystemExit(143)])
def test_whatever_fails_the_requests_are_given_back(api: ApiServer, failure: BaseException) -> None:
    canary, _ = rollout(api)

    def fail() -> tuple[ReleaseWindow, ReleaseWindow, float | None]:
        raise failure

    object.__setattr__(canary, "look", fail)
    with pytest.raises(type(failure)):
        canary.run()
    assert api.weights() == [5, 0]


@pytest.mark.parametrize("refused", [0, 1])
def test_a_route_that_cannot_be_given_back_is_said_and_the_other_is_given_back(refused: int) -> None:
    paths = ("httproutes/cards", "grpcroutes/cards")
    with api_server(BOTH) as api:
        canary, _ = rollout(api, GOOD, GOOD, paths=paths)

        def refuse_the_last(line: str) -> None:
            if "cards-b with 50 %" in line:
                api.refused.add(paths[refused])

        object.__setattr__(canary, "say", refuse_the_last)
        with pytest.raises(CanaryError, match=r"the requests could NOT be given back .*403.* look at the routes now"):
            canary.run()
        weights = [current_weights(api.objects[path], ["cards-a", "cards-b"]) for path in paths]
        assert weights[1 - refused] == {"cards-a": 100, "cards-b": 0}
        assert weights[refused] == {"cards-a": 50, "cards-b": 50}


def test_a_route_that_may_never_be_changed_is_the_error_and_nothing_has_to_be_given_back() -> None:
    with api_server({"httproutes/cards": route(100, 0)}) as api:
        api.refused.add("httproutes/cards")
        canary, _ = rollout(api, GOOD)
        with pytest.raises(KubernetesError, match="403"):
            canary.run()


def test_the_wrong_order_is_refused_before_anything_is_changed() -> None:
    with api_server({"httproutes/cards": route(stable=0, canary=100)}) as api:
        canary, _ = rollout(api, GOOD)
        with pytest.raises(CanaryError, match="did you mean `lading canary cards-b cards-a`"):
            canary.run()
        assert api.history == []


def test_a_shadow_gets_copies_and_moves_no_request(api: ApiServer) -> None:
    canary, said = rollout(api, FEW, GOOD)
    canary.shadow()
    (mirrored, clean) = [one["spec"]["rules"][1]["filters"] for one in api.history]
    assert mirrored == [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "cards-b", "port": 8080}}}]
    assert clean == []
    assert api.weights() == [0, 0]
    assert "no worse" in said[-1]


def test_a_bad_shadow_is_mirrored_no_longer(api: ApiServer) -> None:
    canary, _ = rollout(api, BAD)
    with pytest.raises(GateRefusedError):
        canary.shadow()
    assert api.objects["httproutes/cards"]["spec"]["rules"][1]["filters"] == []


def test_other_filters_and_other_rules_are_left_alone() -> None:
    before = route()
    before["spec"]["rules"][1]["filters"] = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {}}]
    (_, one) = mirror_patch(before, "cards-a", "cards-b", on=True)
    assert one["path"] == "/spec/rules/1/filters"
    assert [kept["type"] for kept in one["value"]] == ["RequestHeaderModifier", "RequestMirror"]
    (_, *weights) = weights_patch(before, {"cards-a": 1, "cards-b": 2})
    assert [(each["path"], each["value"]) for each in weights] == [
        ("/spec/rules/1/backendRefs/0/weight", 1),
        ("/spec/rules/1/backendRefs/1/weight", 2),
    ]
    with pytest.raises(CanaryError, match="no rule of HTTPRoute cards has the backends cards-a and nobody"):
        weights_patch(before, {"cards-a": 1, "nobody": 2})


def test_a_dry_run_prints_the_patches_and_sends_none(api: ApiServer) -> None:
    canary, said = rollout(api, dry_run=True)
    canary.run()
    assert api.history == []
    patches = [line for line in said if line.startswith("kubectl --namespace serve patch httproute/cards --type json")]
    moved = [json.loads(line.split("'")[1])[-1]["value"] for line in patches]
    assert moved == [5, 50, 100]
    assert not any("promoted" in line for line in said)


def test_both_protocols_move_together() -> None:
    with api_server(BOTH) as api:
        canary, _ = rollout(api, GOOD, GOOD, paths=("httproutes/cards", "grpcroutes/cards"))
        canary.run()
        assert api.weights() == [5, 5, 50, 50, 100, 100]


def test_a_change_by_someone_else_is_read_again_and_not_overwritten(api: ApiServer) -> None:
    api.conflicts = 1
    canary, _ = rollout(api, GOOD, GOOD)
    canary.run()
    assert api.weights() == [5, 50, 100]


@pytest.mark.parametrize("name", ["cards", "services/cards", "httproutes/", "httproutes/a/b"])
def test_a_route_of_another_kind_is_refused(api: ApiServer, name: str) -> None:
    with pytest.raises(SettingsError, match="write httproutes/NAME or grpcroutes/NAME"):
        rollout(api, paths=(name,))


@pytest.mark.parametrize("text", ["", "5,x", "0,5", "5,100", "25,5", "5,5"])
def test_steps_grow_from_1_to_99(text: str) -> None:
    with pytest.raises(SettingsError, match="percentages"):
        read_steps(text)
    assert read_steps("5,25,50") == (5, 25, 50)
