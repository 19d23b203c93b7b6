"""An Evidently report on the newest requests of a payload log, as a separate service.

Evidently is large and needs raw values, so it stays out of the server. The artifact holds no training data, so the
values of the baseline are drawn from the reference's histograms.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lading.artifact import Artifact
from lading.drift.reference import FeatureReference, Reference
from lading.errors import DataError, SettingsError
from lading.record.payload_reader import read_rows, row_examples
from lading.spec import Array

if TYPE_CHECKING:
    from starlette.applications import Starlette

DRAWN = 1000


def evidently_html(log: Path, artifact: Artifact, newest: int) -> str:
    """Return Evidently's drift report on the newest examples of a log, as HTML.

    Raises:
        DataError: the log holds no answer by the artifact's chosen variant.
        SettingsError: Evidently is not installed.
    """
    # Evidently reads this variable when it is imported; without it, it sends telemetry.
    os.environ["DO_NOT_TRACK"] = "1"
    try:
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset
    except ImportError:
        raise SettingsError("this report needs Evidently: pip install 'lading[drift]'") from None
    reference = Reference.from_json(artifact.reference_json())
    rng = np.random.default_rng(0)
    was = pd.DataFrame({name: draw(feature, DRAWN, rng) for name, feature in reference.features.items()})
    now = pd.DataFrame(_frame_rows(log, artifact, reference, newest), columns=list(was.columns))
    categories = [name for name, feature in reference.features.items() if feature.kind == "category"]
    numbers = [name for name in was.columns if name not in categories]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    snapshot = Report([DataDriftPreset()]).run(
        Dataset.from_pandas(now, data_definition=definition), Dataset.from_pandas(was, data_definition=definition)
    )
    return str(snapshot.get_html_str(as_iframe=False))


def evidently_app(log: Path, artifact: Artifact) -> Starlette:
    """Return an app with ``GET /report?n=500`` and probes."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    async def report(request: Request) -> Response:
        asked = request.query_params.get("n", "500")
        if not asked.isascii() or not asked.isdigit() or not 0 < int(asked) <= 100_000:
            return JSONResponse({"error": f"n is {asked!r}: send 1 to 100000", "status": 400}, 400)
        try:
            return HTMLResponse(await run_in_threadpool(evidently_html, log, artifact, int(asked)))
        except DataError as error:
            return JSONResponse({"error": str(error), "status": 404}, 404)

    async def alive(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    return Starlette(routes=[Route("/report", report), Route("/livez", alive), Route("/readyz", alive)])


def draw(feature: FeatureReference, count: int, rng: np.random.Generator) -> list[Any]:
    """Draw values from a feature's histogram: labels, or numbers uniform within each bin."""
    bins = rng.choice(len(feature.shares), size=count, p=np.asarray(feature.shares) / sum(feature.shares))
    if feature.kind == "category":
        return [feature.labels[index] for index in bins]
    edges = np.array([feature.minimum, *feature.edges, feature.maximum])
    low, high = edges[:-1][bins], np.maximum(edges[1:][bins], edges[:-1][bins])
    return list(rng.uniform(low, high))


def _frame_rows(log: Path, artifact: Artifact, reference: Reference, newest: int) -> list[Mapping[str, Any]]:
    manifest = artifact.manifest
    rows: deque[Mapping[str, Any]] = deque(maxlen=newest)
    for row in read_rows(log, manifest.name):
        if row["code"] == 200 and row["variant"] == manifest.chosen:
            rows.extend(_values(reference, example) for example in row_examples(manifest, row))
    if not rows:
        raise DataError(f"{log} holds no answer of {manifest.name}'s variant {manifest.chosen}")
    return list(rows)


def _values(reference: Reference, example: Mapping[str, Array]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, feature in reference.features.items():
        if name in example and example[name].size:
            if feature.kind == "category":
                found[name] = feature.labels[int(example[name][0])]
            else:
                found[name] = float(example[name].mean())
    return found
