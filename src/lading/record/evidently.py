"""An Evidently report on the newest requests of a payload log.

Evidently is large and needs raw values, so it stays out of the server. The artifact holds no training data, so the
values of the baseline are drawn from the reference's histograms.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from lading.artifact import Artifact
from lading.drift.reference import FeatureReference, Reference
from lading.errors import DataError, SettingsError
from lading.record.joined import Joined
from lading.record.log_source import LogSource
from lading.record.log_watch import LogWatch
from lading.spec import Array

DRAWN = 1000


def evidently_html(log: LogSource, artifact: Artifact, newest: int) -> str:
    """Return Evidently's drift report on the newest examples that an artifact answered, as HTML.

    Raises:
        DataError: the log cannot be read, or holds no answer by this artifact's chosen variant.
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
    reference = Reference.of(artifact)
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


def draw(feature: FeatureReference, count: int, rng: np.random.Generator) -> list[Any]:
    """Draw values from a feature's histogram: labels, or numbers uniform within each bin."""
    bins = rng.choice(len(feature.shares), size=count, p=np.asarray(feature.shares) / sum(feature.shares))
    if feature.kind == "category":
        return [feature.labels[index] for index in bins]
    edges = np.array([feature.minimum, *feature.edges, feature.maximum])
    low, high = edges[:-1][bins], np.maximum(edges[1:][bins], edges[:-1][bins])
    return list(rng.uniform(low, high))


def _frame_rows(log: LogSource, artifact: Artifact, reference: Reference, newest: int) -> list[dict[str, Any]]:
    joined = Joined(artifact, newest, digest=True)
    LogWatch(log, joined, truths=False).refresh()
    rows = [_values(reference, example) for example in joined.newest_examples()]
    if not rows:
        raise DataError(f"{log} holds no answer of {artifact.manifest.name}'s variant {artifact.manifest.chosen}")
    return rows


def _values(reference: Reference, example: Mapping[str, Array]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, feature in reference.features.items():
        if name in example and example[name].size:
            if feature.kind == "category":
                found[name] = feature.labels[int(example[name][0])]
            else:
                found[name] = float(example[name].mean())
    return found
