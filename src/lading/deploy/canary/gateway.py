"""Weights and mirrors of Gateway API routes, as JSON patches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lading.deploy.kubernetes import Cluster, Kind, Object, Patch
from lading.errors import CanaryError, KubernetesError, LadingError, SettingsError

GROUP, VERSION = "gateway.networking.k8s.io", "v1"
PLURALS = ("httproutes", "grpcroutes")


def weights_patch(route: Object, weights: dict[str, int]) -> Patch:
    """Set the weights of backends, in every rule that has all of them.

    The patch applies only to the version of the route that was read, so it does not overwrite another change.

    Raises:
        CanaryError: no rule has all of the backends.
    """
    operations: Patch = [
        {"op": "add", "path": f"/spec/rules/{number}/backendRefs/{place}/weight", "value": weights[backend["name"]]}
        for number, rule in _rules(route, set(weights))
        for place, backend in enumerate(rule["backendRefs"])
        if backend["name"] in weights and backend.get("weight", 1) != weights[backend["name"]]
    ]
    return [_unchanged(route), *operations]


def mirror_patch(route: Object, stable: str, canary: str, *, on: bool) -> Patch:
    """Start or stop sending a copy of every request to ``canary``. Clients never see its answers.

    Raises:
        CanaryError: no rule has both backends.
    """
    operations: Patch = []
    for number, rule in _rules(route, {stable, canary}):
        filters = [one for one in rule.get("filters", []) if not _mirrors(one, canary)]
        if on:
            (backend,) = [one for one in rule["backendRefs"] if one["name"] == canary]
            target = {key: backend[key] for key in ("name", "namespace", "port") if key in backend}
            filters.append({"type": "RequestMirror", "requestMirror": {"backendRef": target}})
        if filters != rule.get("filters", []):
            operations.append({"op": "add", "path": f"/spec/rules/{number}/filters", "value": filters})
    return [_unchanged(route), *operations]


def current_weights(route: Object, names: Sequence[str]) -> dict[str, int]:
    """Weights in the first rule that has all of the backends. The default of Gateway API is 1."""
    _, rule = next(_rules(route, set(names)))
    return {one["name"]: one.get("weight", 1) for one in rule["backendRefs"] if one["name"] in names}


def refuse_broken(route: Object) -> None:
    """Refuse a route whose Gateway reports a fault: changed weights would have no effect, or requests would fail.

    Raises:
        CanaryError: the Gateway did not accept the route, or finds one of its backends missing.
    """
    for parent in route.get("status", {}).get("parents", ()):
        for condition in parent.get("conditions", ()):
            if condition["type"] in ("Accepted", "ResolvedRefs") and condition["status"] == "False":
                raise CanaryError(
                    f"the Gateway {parent['parentRef']['name']} reports for {route['kind']} "
                    f"{route['metadata']['name']} that {condition['type']} is False: "
                    f"{condition.get('reason', '')} {condition.get('message', '')[:200]}".rstrip()
                    + "; nothing was moved"
                )


def _rules(route: Object, names: set[str]) -> Iterator[tuple[int, Object]]:
    rules = route["spec"].get("rules", [])
    found = [
        (number, rule)
        for number, rule in enumerate(rules)
        if names <= {backend["name"] for backend in rule.get("backendRefs", [])}
    ]
    if not found:
        raise CanaryError(
            f"no rule of {route['kind']} {route['metadata']['name']} has the backends {' and '.join(sorted(names))}"
        )
    yield from found


def _mirrors(filtering: Object, canary: str) -> bool:
    return bool(filtering["type"] == "RequestMirror" and filtering["requestMirror"]["backendRef"]["name"] == canary)


def _unchanged(route: Object) -> dict[str, Any]:
    return {"op": "test", "path": "/metadata/resourceVersion", "value": route["metadata"]["resourceVersion"]}


@dataclass(frozen=True)
class Routes:
    """The routes that lead to both releases.

    Raises:
        SettingsError: a name is not ``httproutes/NAME`` or ``grpcroutes/NAME``.
    """

    cluster: Cluster
    namespace: str
    names: tuple[str, ...]
    """``httproutes/cards``, ``grpcroutes/cards``."""
    dry_run: bool
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        for route in self.names:
            plural, _, name = route.partition("/")
            if plural not in PLURALS or not name or "/" in name:
                raise SettingsError(f"--route {route!r}: write {' or '.join(f'{plural}/NAME' for plural in PLURALS)}")

    def read(self) -> list[Object]:
        """Every route as it is now.

        Raises:
            KubernetesError: the API server does not answer, or refuses.
        """
        return [self.cluster.read(*self._place(route)) for route in self.names]

    def change(self, make: Callable[[Object], Patch]) -> None:
        """Patch every route, also those after one that fails. A dry run prints the patches and sends none.

        Raises:
            KubernetesError: the API server refused, or someone else changed the route twice meanwhile.
        """
        failed: list[LadingError] = []
        for route in self.names:
            try:
                self._change(route, make)
            except LadingError as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def _change(self, route: str, make: Callable[[Object], Patch]) -> None:
        place = self._place(route)
        for last in (False, True):
            patch = make(self.cluster.read(*place))
            if len(patch) == 1:  # the test of the version alone: the route is like that already
                return
            if self.dry_run:
                self._print(route, patch)
                return
            try:
                self.cluster.patch(*place, patch)
                return
            except KubernetesError:
                if last:
                    raise

    def _place(self, route: str) -> tuple[Kind, str, str]:
        plural, _, name = route.partition("/")
        return Kind(GROUP, VERSION, plural), self.namespace, name

    def _print(self, route: str, patch: Patch) -> None:
        self.say(
            f"kubectl --namespace {self.namespace} patch {route.replace('routes/', 'route/')} "
            f"--type json --patch '{json.dumps(patch)}'"
        )
