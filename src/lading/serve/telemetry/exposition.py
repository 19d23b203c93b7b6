"""``GET /metrics``: the format and the encoding that a client accepts, of all workers together.

Prometheus' text format is the default. OpenMetrics also holds exemplars and units. Every answer is written by
prometheus_client; its own negotiation ignores q-values, and answers a version of the text format that Go's expfmt does
not know.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from lading.serve.telemetry.metrics import Metrics

TEXT, OPENMETRICS = "text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"
_UNITS = ("seconds", "bytes")
_FAST = 1  # 4 ms for a megabyte; level 6 takes five times as long for a quarter less
_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


class Exposition(NamedTuple):
    """What a scrape gets."""

    body: bytes
    headers: dict[str, str]


def exposition(metrics: Metrics, accept: str = "", accept_encoding: str = "") -> Exposition:
    """Everything in one of two formats.

    Args:
        metrics: of this process; the other workers' are read from their folder.
        accept: the header of that name, or several joined with commas.
        accept_encoding: the same for the encoding.
    """
    registry = metrics.together()
    if metrics.pids is not None:
        PlatformCollector(registry=registry)
        registry.register(_Processes(metrics.pids))
    if chosen(accept, (TEXT, OPENMETRICS)) == OPENMETRICS:
        described = CollectorRegistry()
        described.register(_Described(registry, metrics))
        body, content_type = generate_openmetrics(described), CONTENT_TYPE_OPENMETRICS  # type: ignore[no-untyped-call]
    else:
        body, content_type = generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4
    headers = {"content-type": content_type, "vary": "accept, accept-encoding"}
    if accept_encoding and chosen(accept_encoding, ("identity", "gzip")) == "gzip":
        body, headers["content-encoding"] = gzip.compress(body, _FAST, mtime=0), "gzip"
    return Exposition(body, headers)


def chosen(header: str, offers: tuple[str, ...]) -> str:
    """The offer that a header (``accept`` or ``accept-encoding``) prefers, as RFC 9110 12.5 says.

    The highest weight wins. Between equal weights it is the more specific range, then the one that comes first, then
    the first offer. It is also the first offer if the header accepts none: a scrape with some metrics is worth more
    than a 406.

    Args:
        header: ranges with parameters and weights; one that cannot be read is ignored.
        offers: without spaces, in lower case, parameters after the name.
    """
    ranges = list(_ranges(header))
    best, best_rank = offers[0], (0.0, 0, 0)
    for offer in offers:
        name, *parameters = offer.split(";")
        covering = ["*", "*/*", f"{name.partition('/')[0]}/*", name]  # from the least to the most specific
        fitting = [
            (covering.index(range_) + len(wanted), -place, weight)
            for place, (range_, wanted, weight) in enumerate(ranges)
            if range_ in covering and wanted <= set(parameters)
        ]
        if fitting:
            specific, place, weight = max(fitting)
            if weight and (weight, specific, place) > best_rank:
                best, best_rank = offer, (weight, specific, place)
    return best


def _ranges(header: str) -> Iterator[tuple[str, set[str], float]]:
    """The ranges of a header with their parameters and weights."""
    for part in header.lower().split(","):
        name, *given = [one.replace(" ", "").replace("\t", "").replace('"', "") for one in part.split(";")]
        parameters, weight = set(), "1"
        for parameter in given:
            if parameter.startswith("q="):
                weight = parameter[2:]
            elif parameter and not parameter.startswith(("charset=", "escaping=")):  # every name here is plain ASCII
                parameters.add(parameter)
        if name and _WEIGHT.fullmatch(weight):
            yield name, parameters, float(weight)


class _Described(Collector):
    """The same series with what only OpenMetrics has: units, and exemplars."""

    def __init__(self, registry: CollectorRegistry, metrics: Metrics) -> None:
        self._registry, self._metrics = registry, metrics

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            family.unit = next((unit for unit in _UNITS if family.name.endswith(f"_{unit}")), "")
            self._metrics.exemplars.attach(family)
            yield family


class _Processes(Collector):
    """Memory, time and files of every worker, by its process id: sums of them would go back when one ends."""

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        found: dict[str, Metric] = {}
        for pid in self._pids():
            for family in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                merged = found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    merged.add_sample(sample.name, {"pid": str(pid)}, sample.value)
        yield from found.values()
