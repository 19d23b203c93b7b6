"""What both releases answered, asked of Prometheus; and whether they answer the same, asked of themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from lading.deploy.canary.rollout import Window
from lading.deploy.load.bodies import bodies, examples
from lading.deploy.load.signature import from_artifact, from_server
from lading.errors import CanaryError
from lading.protocol.client import ANYONE, Access, Client
from lading.spec import Array

CLOSE = 0.01
"""Outputs without labels agree when they are within this share of the release before's own range."""
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Prometheus:
    """Where requests were counted."""

    url: str

    def window(self, selector: str, seconds: int) -> Window:
        """Requests, errors and p99 of the series that a selector chooses, over the last seconds.

        Raises:
            CanaryError: Prometheus does not answer, or refuses the query.
        """
        span = f"[{seconds}s]"
        total = self._ask(f'sum(increase(lading_requests_total{{{selector},code=~"2..|5..|429"}}{span}))')
        errors = self._ask(f'sum(increase(lading_requests_total{{{selector},code=~"5..|429"}}{span}))')
        p99 = self._ask(
            f"histogram_quantile(0.99, sum by (le) (rate(lading_request_duration_seconds_bucket{{{selector}}}{span})))"
        )
        requests = round(total or 0.0)
        return Window(requests, min(requests, round(errors or 0.0)), None if p99 is None else 1000 * p99)

    def _ask(self, query: str) -> float | None:
        try:
            answer = httpx.get(f"{self.url}/api/v1/query", params={"query": query}, timeout=TIMEOUT_S)
            content = answer.json()
            if content["status"] != "success":
                raise CanaryError(f"Prometheus refused {query}: {content['error']}")
            result = content["data"]["result"]
            value = float(result[0]["value"][1]) if result else math.nan
        except httpx.HTTPError as error:
            raise CanaryError(f"Prometheus at {self.url} does not answer: {error}") from None
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise CanaryError(f"Prometheus at {self.url} answered what is not understood: {error}") from None
        return None if math.isnan(value) else value


def pods_of(namespace: str, release: str) -> str:
    """The selector of a release's pods, as a Deployment names them: its name, the template's hash, five letters."""
    return f'namespace="{namespace}",pod=~"{release}-[a-z0-9]+-[a-z0-9]{{5}}"'


def agreement(stable: str, canary: str, artifact: Path | None, *, access: Access = ANYONE) -> float:
    """Send both releases the same inputs, and return the share that they answer alike.

    Args:
        stable: address of the release before.
        canary: address of the new one.
        artifact: its recorded requests are sent first; default: inputs drawn from the signature.
        access: key and certificate of both.

    Raises:
        ClientError: a release does not answer, or refuses.
        CanaryError: the new one has other outputs.
    """
    served = from_server(stable, access=access)
    signature = from_artifact(artifact) if artifact else served
    labelled = {spec.name for spec in served.outputs if spec.labels}
    with Client(stable, access=access) as before, Client(canary, access=access) as new:
        same = [
            _alike(before.send(request), new.send(request), labelled)
            for request in bodies(signature, "v2-json", examples(signature))
        ]
    return float(np.mean(same))


def _alike(one: dict[str, Array], other: dict[str, Array], labelled: set[str]) -> bool:
    """The same most likely label of every output that has labels; else every value close."""
    if {name: array.shape for name, array in one.items()} != {name: array.shape for name, array in other.items()}:
        raise CanaryError(f"the releases have different outputs: {sorted(one)} and {sorted(other)}, or shapes of these")
    if names := labelled & set(one):
        return all(bool((one[name].argmax(-1) == other[name].argmax(-1)).all()) for name in names)
    return all(_close(one[name], other[name]) for name in one)


def _close(one: Array, other: Array) -> bool:
    wide, narrow = one.astype(np.float64), other.astype(np.float64)
    allowed = CLOSE * max(float(np.ptp(wide)), float(np.abs(wide).max(initial=0.0)), 1e-12)
    return bool((np.abs(wide - narrow) <= allowed).all())
