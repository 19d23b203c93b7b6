"""Exemplars: the newest traced observation of each bucket of a duration, with the trace that it belongs to."""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import orjson
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from lading.serve.telemetry.trace_context import TraceContext

Bucket = tuple[str, frozenset[tuple[str, str]]]
"""Name of the histogram, and the labels of the bucket, ``le`` included."""


class _Traced(NamedTuple):
    trace_id: str
    span_id: str
    seconds: float
    time: float


class Exemplars:
    """Those of one process. Several workers leave theirs in a folder, because their histograms hold numbers only.

    Args:
        bounds: upper bounds of the buckets in seconds, without infinity.
        folder: shared by all workers; ``None``: there is one process.
    """

    def __init__(self, bounds: Iterable[float], folder: Path | None = None) -> None:
        self._bounds = tuple(bounds)
        self._le = [floatToGoString(bound) for bound in (*self._bounds, float("inf"))]  # type: ignore[no-untyped-call]
        self._folder = folder
        self._newest: dict[Bucket, _Traced] = {}
        self._changed = False

    def note(self, name: str, labels: Mapping[str, str], seconds: float, trace: TraceContext) -> None:
        """Keep an observation, in place of an older one in its bucket.

        Args:
            name: of the histogram, which has the bounds of this object.
            labels: of its series.
            seconds: the observation.
            trace: the span that it belongs to. Only sampled ones can be looked up, so pass no others.
        """
        le = self._le[bisect_left(self._bounds, seconds)]
        bucket = name, frozenset((*labels.items(), ("le", le)))
        self._newest[bucket] = _Traced(trace.trace_id, trace.span_id, seconds, time.time())
        self._changed = True

    def share(self) -> None:
        """Write the exemplars to where the other workers read them. Called with each heartbeat."""
        if self._folder is None or not self._changed:
            return
        rows = [(name, dict(labels), tuple(traced)) for (name, labels), traced in self._newest.items()]
        file = self._folder / f"exemplars-{os.getpid()}.json"
        unfinished = file.with_suffix(".part")
        with suppress(OSError):  # a full disk: exemplars are not worth a failed heartbeat or scrape
            unfinished.write_bytes(orjson.dumps(rows))
            unfinished.replace(file)  # not flushed to the disk: the folder ends with the workers
            self._changed = False

    def attach(self, family: Metric) -> None:
        """Add the exemplars, of all workers, to the buckets of a histogram."""
        if family.type != "histogram":
            return
        newest = self._of_all()
        family.samples = [
            sample._replace(exemplar=_exemplar(traced))
            if (traced := newest.get((family.name, frozenset(sample.labels.items())))) and _is_bucket(sample)
            else sample
            for sample in family.samples
        ]

    def _of_all(self) -> Mapping[Bucket, _Traced]:
        if self._folder is None:
            return self._newest
        newest: dict[Bucket, _Traced] = {}
        for file in self._folder.glob("exemplars-*.json"):
            for name, labels, values in orjson.loads(file.read_bytes()):
                bucket, traced = (name, frozenset(labels.items())), _Traced(*values)
                if bucket not in newest or newest[bucket].time < traced.time:
                    newest[bucket] = traced
        return newest


def _is_bucket(sample: Sample) -> bool:
    return sample.name.endswith("_bucket")


def _exemplar(traced: _Traced) -> Exemplar:
    labels = {"trace_id": traced.trace_id, "span_id": traced.span_id}
    return Exemplar(labels, traced.seconds, round(traced.time, 3))
