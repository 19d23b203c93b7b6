"""Weights and mirrors of a Gateway API route, as JSON patches, and the API server that they are sent to."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lading.errors import CanaryError

GROUP = "apis/gateway.networking.k8s.io/v1"
POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_S = 20.0

Route = dict[str, Any]
Patch = list[dict[str, Any]]


def weights_patch(route: Route, weights: dict[str, int]) -> Patch:
    """Give every backend that is named its weight, in every rule that has all of them.

    The patch holds only for the version of the route that was read: a change in between is not overwritten.

    Raises:
        CanaryError: no rule has both backends.
    """
    operations: Patch = [
        {"op": "add", "path": f"/spec/rules/{number}/backendRefs/{place}/weight", "value": weights[backend["name"]]}
        for number, rule in _rules(route, set(weights))
        for place, backend in enumerate(rule["backendRefs"])
        if backend["name"] in weights
    ]
    return [_unchanged(route), *operations]


def mirror_patch(route: Route, stable: str, canary: str, *, on: bool) -> Patch:
    """Send a copy of every request of ``stable`` to ``canary``, whose answers nobody sees; or no longer.

    Raises:
        CanaryError: no rule has both backends, or there is no mirror to take away.
    """
    operations: Patch = []
    for number, rule in _rules(route, {stable, canary}):
        kept = [one for one in rule.get("filters", []) if not _mirrors(one, canary)]
        if on:
            (backend,) = [one for one in rule["backendRefs"] if one["name"] == canary]
            to = {key: backend[key] for key in ("name", "namespace", "port") if key in backend}
            kept.append({"type": "RequestMirror", "requestMirror": {"backendRef": to}})
        operations.append({"op": "add", "path": f"/spec/rules/{number}/filters", "value": kept})
    return [_unchanged(route), *operations]


def current_weights(route: Route, names: Sequence[str]) -> dict[str, int]:
    """Weights of the first rule that has all of the backends; one that is not written is 1."""
    _, rule = next(_rules(route, set(names)))
    return {one["name"]: one.get("weight", 1) for one in rule["backendRefs"] if one["name"] in names}


def _rules(route: Route, names: set[str]) -> Iterator[tuple[int, Route]]:
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


def _mirrors(filtering: Route, canary: str) -> bool:
    return bool(filtering["type"] == "RequestMirror" and filtering["requestMirror"]["backendRef"]["name"] == canary)


def _unchanged(route: Route) -> dict[str, Any]:
    return {"op": "test", "path": "/metadata/resourceVersion", "value": route["metadata"]["resourceVersion"]}


@dataclass(frozen=True)
class Routes:
    """The routes that lead to both releases, in an API server."""

    client: httpx.Client
    namespace: str
    paths: tuple[str, ...]
    """``httproutes/cards``, ``grpcroutes/cards``."""
    dry_run: bool
    say: Callable[[str], None]

    def read(self) -> list[Route]:
        """Every route as it is now."""
        return [self._send("GET", path) for path in self.paths]

    def change(self, make: Callable[[Route], Patch]) -> None:
        """Patch every route; a dry run prints the patches and sends none.

        Raises:
            CanaryError: the API server refused, or the route was changed by somebody else twice.
        """
        for path in self.paths:
            for last in (False, True):
                patch = make(self._send("GET", path))
                if self.dry_run:
                    self.say(
                        f"kubectl --namespace {self.namespace} patch {path.replace('routes/', 'route/')}"
                        f" --type json --patch '{json.dumps(patch)}'"
                    )
                    break
                try:
                    self._send("PATCH", path, patch)
                    break
                except CanaryError:
                    if last:
                        raise

    def _send(self, method: str, path: str, patch: Patch | None = None) -> Route:
        content = None if patch is None else json.dumps(patch)
        headers = {"content-type": "application/json-patch+json"} if patch is not None else {}
        url = f"/{GROUP}/namespaces/{self.namespace}/{path}"
        try:
            answer = self.client.request(method, url, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise CanaryError(f"the API server at {self.client.base_url} does not answer: {error}") from None
        if answer.is_error:
            raise CanaryError(f"{method} {url} answered {answer.status_code}: {_message(answer)}")
        found: Route = answer.json()
        return found


def api_client(api: str | None) -> httpx.Client:
    """A client of the API server: of ``kubectl proxy`` at ``api``, else of the cluster that this pod runs in.

    Raises:
        CanaryError: no address is given, and this is no pod with a ServiceAccount's token.
    """
    if api:
        return httpx.Client(base_url=api, timeout=TIMEOUT_S)
    if not (POD / "token").is_file():
        raise CanaryError("this is no pod with a token: run `kubectl proxy`, and give --api http://127.0.0.1:8001")
    trust = ssl.create_default_context(cafile=str(POD / "ca.crt"))

    def authorize(request: httpx.Request) -> None:
        # Read each time: the kubelet renews it within the hour.
        request.headers["authorization"] = f"Bearer {(POD / 'token').read_text().strip()}"

    return httpx.Client(
        base_url="https://kubernetes.default.svc", verify=trust, timeout=TIMEOUT_S, event_hooks={"request": [authorize]}
    )


def own_namespace() -> str:
    """The pod's namespace, or ``default``."""
    file = POD / "namespace"
    return file.read_text().strip() if file.is_file() else "default"


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]
