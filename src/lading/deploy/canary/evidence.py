"""Figures of both releases: requests, errors and p99 from Prometheus, and the agreement of their answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from lading.deploy.canary.decision import ReleaseWindow
from lading.deploy.kubernetes import POD_SUFFIX
from lading.deploy.load.bodies import bodies, examples
from lading.deploy.load.signature import from_artifact, from_server
from lading.errors import CanaryError
from lading.protocol.client import ANYONE, Access, Client
from lading.protocol.datatypes import FROM_V2, TO_V2
from lading.spec import BATCH, Array, DType, TensorSpec
from lading.tensors.agreement import agreement as rows_that_agree

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Prometheus:
    """The Prometheus that scrapes both releases."""

    url: str

    def window(self, selector: str, seconds: int) -> ReleaseWindow:
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
        return ReleaseWindow(requests, min(requests, round(errors or 0.0)), None if p99 is None else 1000 * p99)

    def pods(self, selector: str, seconds: int) -> int:
        """How many pods have had series in the last seconds. After one failed scrape a pod has none for a moment.

        Raises:
            CanaryError: as for :meth:`window`.
        """
        return round(self._ask(f"count(max_over_time(lading_usable_cpus{{{selector}}}[{seconds}s]))") or 0)

    def scrapes(self, selector: str, seconds: int) -> int:
        """Scrapes of the pod that was scraped most often, over the last seconds.

        Raises:
            CanaryError: as for :meth:`window`.
        """
        return round(self._ask(f"max(count_over_time(lading_usable_cpus{{{selector}}}[{seconds}s]))") or 0)

    def rate(self, selector: str, seconds: int) -> float:
        """Requests per second, over the last seconds.

        Raises:
            CanaryError: as for :meth:`window`.
        """
        return self._ask(f"sum(rate(lading_requests_total{{{selector}}}[{seconds}s]))") or 0.0

    def lane_seconds(self, selector: str, seconds: int) -> float:
        """Mean seconds that an answered request took in a lane, decoding included; 0.0 without requests.

        Raises:
            CanaryError: as for :meth:`window`.
        """
        parts = " + ".join(
            f"sum(rate(lading_{stage}_duration_seconds_sum{{{selector}}}[{seconds}s]))"
            for stage in ("decode", "inference")
        )
        answered = f'sum(rate(lading_requests_total{{{selector},code="200"}}[{seconds}s]))'
        found = self._ask(f"({parts}) / {answered}")
        return found if found is not None and math.isfinite(found) else 0.0

    def cpus(self, selector: str) -> float | None:
        """CPUs of the smallest pod.

        Raises:
            CanaryError: as for :meth:`window`.
        """
        return self._ask(f"min(lading_usable_cpus{{{selector}}})")

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
            raise CanaryError(f"Prometheus at {self.url} gave an answer that cannot be read: {error}") from None
        return None if math.isnan(value) else value


def pods_of(namespace: str, release: str) -> str:
    """A selector of a release's pods by their names: the Deployment's name, a hash, five characters."""
    return f'namespace="{namespace}",pod=~"{release}-{POD_SUFFIX}"'


def agreement(stable: str, canary: str, artifact: Path | None, *, access: Access = ANYONE) -> float:
    """Send both releases the same inputs, and return the share of rows on which they agree, 0 to 1.

    Args:
        stable: address of the old release.
        canary: address of the new release.
        artifact: its recorded requests are sent first; default: random inputs by the signature.
        access: key and certificate of both.

    Raises:
        ClientError: a release does not answer, or refuses.
        CanaryError: the new release has other outputs.
    """
    served = from_server(stable, access=access)
    signature = from_artifact(artifact) if artifact else served
    requests = bodies(signature, "v2-json", examples(signature))
    with Client(stable, access=access) as before, Client(canary, access=access) as new:
        answers = [(before.send(request), new.send(request)) for request in requests]
    for old_answer, new_answer in answers:
        _refuse_other_outputs(old_answer, new_answer)
    old, changed = (
        {name: np.concatenate([np.atleast_1d(one[name]) for one in side]) for name in side[0]}
        for side in zip(*answers, strict=True)
    )
    # A server of another kind does not say which outputs have labels.
    specs = served.outputs or tuple(
        TensorSpec(name=name, dtype=_dtype(array), shape=(BATCH, *array.shape[1:])) for name, array in old.items()
    )
    # Outputs per node and per graph have different numbers of rows, so they cannot be compared row by row together.
    rows = {len(old[spec.name]) for spec in specs}
    return min(rows_that_agree([spec for spec in specs if len(old[spec.name]) == size], old, changed) for size in rows)


def _dtype(array: Array) -> DType:
    return FROM_V2.get(TO_V2.get(str(array.dtype), ""), "string")


def _refuse_other_outputs(old: Mapping[str, Array], new: Mapping[str, Array]) -> None:
    shapes, others = ({name: list(array.shape) for name, array in one.items()} for one in (old, new))
    if shapes != others:
        raise CanaryError(f"the releases have different outputs: {shapes} and {others}")
