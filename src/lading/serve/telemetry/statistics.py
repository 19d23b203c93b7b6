"""What Triton's statistics extension reports of a model, from this server's own metrics."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from http import HTTPStatus
from typing import Any

from lading.errors import NotOfferedError
from lading.serve.engine.repository import Repository
from lading.serve.telemetry.metrics import Metrics


class Statistics:
    """Answers the statistics calls of both protocols.

    Args:
        repository: the models.
        metrics: what was counted for them, by all workers together.
    """

    def __init__(self, repository: Repository, metrics: Metrics) -> None:
        self._repository, self._metrics = repository, metrics

    async def of(self, name: str | None, version: str | None) -> list[dict[str, Any]]:
        """One entry for a model, or for each model without a name, with the fields of Triton's ``ModelStatistics``.

        The metrics count the versions of a model together, so the entry of a model with several has no version.
        What this server does not measure is empty or 0: sizes of batches, ``compute_output``, memory, a cache.

        Raises:
            UnknownModelError: no such model or version is served.
            NotOfferedError: one of several versions is asked for.
        """
        if name:
            model = self._repository.find(name, version)
            if version and len(self._repository.versions(model.name)) > 1:
                raise NotOfferedError(
                    f"the versions of model {name!r} are counted together: ask for its statistics without a version"
                )
        names = [name] if name else sorted({model.name for model in self._repository.all()})
        # The values of several workers are in files.
        counted = await asyncio.to_thread(self._counted) if self._metrics.shared else self._counted()
        return [self._entry(name, counted[name]) for name in names]

    def _counted(self) -> defaultdict[str, defaultdict[str, float]]:
        """By model, the sum over variants and protocols of each sample; requests are split by success."""
        counted: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        for family in self._metrics.of_the_statistics():
            for sample in family.samples:
                values, key = counted[sample.labels.get("model", "")], sample.name
                if "code" in sample.labels:
                    key += ":ok" if sample.labels["code"] == str(HTTPStatus.OK.value) else ":failed"
                if family.type == "gauge":
                    values[key] = max(values[key], sample.value)
                else:
                    values[key] += sample.value
        return counted

    def _entry(self, name: str, values: defaultdict[str, float]) -> dict[str, Any]:
        def duration(stage: str) -> dict[str, int]:
            metric = f"lading_{stage}_duration_seconds"
            return _duration(values[f"{metric}_count"], values[f"{metric}_sum"])

        failed_s = values["lading_failed_request_seconds_total"]
        answered_s = values["lading_request_duration_seconds_sum"] - failed_s
        versions = self._repository.versions(name)
        return {
            "name": name,
            "version": versions[0] if len(versions) == 1 else "",
            "last_inference": int(values["lading_last_inference_timestamp_seconds"] * 1e3),
            "inference_count": int(values["lading_batch_size_sum"]),
            "execution_count": int(values["lading_inference_duration_seconds_count"]),
            "inference_stats": {
                "success": _duration(values["lading_requests_total:ok"], answered_s),
                "fail": _duration(values["lading_requests_total:failed"], failed_s),
                "queue": duration("queue"),
                "compute_input": duration("decode"),
                "compute_infer": duration("inference"),
                "compute_output": _duration(0, 0),
                "cache_hit": _duration(0, 0),
                "cache_miss": _duration(0, 0),
            },
            "batch_stats": [],
            "memory_usage": [],
            "response_stats": {},
        }


def _duration(count: float, seconds: float) -> dict[str, int]:
    return {"count": int(count), "ns": max(0, int(seconds * 1e9))}
