"""Rows of a payload log of the table model, as a reader of the log gets them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from lading.artifact import Artifact

BEGAN = datetime(2026, 11, 30, 12, tzinfo=UTC)


def logged_rows(artifact: Artifact, count: int, centre: float = 0.0) -> list[dict[str, Any]]:
    """One row a second, with ids ``id-0``, ``id-1`` ...; some have the same time."""
    rows = []
    for number, features in enumerate(np.random.default_rng(5).normal(centre, 1, (count, 4)).astype(np.float32)):
        rows.append(
            {
                "time": BEGAN + timedelta(seconds=number // 2),
                "request_id": f"id-{number}",
                "model": artifact.manifest.name,
                "version": artifact.manifest.version,
                "variant": artifact.manifest.chosen,
                "digest": artifact.digest,
                "code": 200,
                "input.features": features.tolist(),
                "input.features.shape": [1, 4],
                "output.total": [float(features.sum())],
                "output.total.shape": [1, 1],
            }
        )
    return rows


def logged_truth(number: int, truth: object, minutes: float = 60) -> dict[str, Any]:
    """The truth about one of those rows."""
    time = BEGAN + timedelta(minutes=minutes)
    return {"time": time, "request_id": f"id-{number}", "output": "total", "truth": json.dumps(truth)}
