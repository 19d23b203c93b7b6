"""The newest requests next to the reference, as one page that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from lading.drift.reference import FeatureReference, Reference
from lading.drift.window import Block, Score

WIDTH, HEIGHT = 250.0, 76.0  # size of a plot in SVG units


def drift_report(
    model: str, reference: Reference, block: Block, scores: Sequence[Score], *, window: int, source: str
) -> str:
    """Render the page.

    Args:
        model: its name.
        reference: statistics that the requests are compared with.
        block: the requests.
        scores: their distances.
        window: requests in a full window.
        source: a sentence that says where the requests come from.
    """
    # Imported here: only a report needs the template engine.
    from jinja2 import Environment

    drifted = sorted({score.feature for score in scores if score.drifted})
    plots = [
        {"name": name, "drifted": name in drifted, "bars": _bars(feature, block.histograms[name])}
        for name, feature in reference.features.items()
    ]
    template = Environment(autoescape=True, trim_blocks=True).from_string(
        files("lading.drift").joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    return template.render(
        model=model,
        requests=block.requests,
        examples=reference.examples,
        source=source,
        window=window,
        drifted=drifted,
        scores=sorted(scores, key=lambda score: (not score.drifted, score.p_value)),
        plots=sorted(plots, key=lambda plot: not plot["drifted"]),
    )


def _bars(feature: FeatureReference, counts: Any) -> list[dict[str, Any]]:
    was = np.asarray(feature.shares)
    now = counts / max(counts.sum(), 1)
    top = max(float(was.max(initial=0)), float(now.max(initial=0)), 1e-9)
    step = WIDTH / max(len(was), 1)
    return [
        {
            "x": round(5 + index * step, 1),
            "width": round(0.42 * step, 1),
            "was": round(HEIGHT * float(was[index]) / top, 1),
            "now": round(HEIGHT * float(now[index]) / top, 1),
            "title": f"{_bin(feature, index)}: {100 * was[index]:.1f} % in the reference, {100 * now[index]:.1f} % now",
        }
        for index in range(len(was))
    ]


def _bin(feature: FeatureReference, index: int) -> str:
    if feature.kind == "category":
        return feature.labels[index]
    edges = feature.edges
    low = f"{edges[index - 1]:.4g}" if index else "less"
    high = f"{edges[index]:.4g}" if index < len(edges) else "more"
    return f"{low} to {high}"
