"""The documentation's table of metrics is what a scrape shows: the same names and labels, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from lading.artifact import Artifact
from tests.given.live_server import live_server

PAGE = Path(__file__).parents[3] / "docs" / "serving.md"


def documented() -> dict[str, set[str]]:
    """Labels by name, from every table whose rows begin with a metric."""
    found: dict[str, set[str]] = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`(lading_\w+)`", cells[0]) if line.startswith("| `lading_") else ():
            found[name] = {label.strip(" `") for label in cells[1].split(",") if label.strip()}
    return found


def declared(registry: CollectorRegistry) -> dict[str, set[str]]:
    """The labels that each metric was made with: one that nothing was counted for yet shows none in a scrape."""
    found: dict[str, set[str]] = {}
    for collector in registry._collector_to_names:
        if isinstance(collector, MetricWrapperBase) and collector._name.startswith("lading_"):
            name = f"{collector._name}_total" if isinstance(collector, Counter) else collector._name
            found[name] = set(collector._labelnames)
    return found


def scraped(text: str) -> dict[str, set[str]]:
    """The same from an exposition; a name counts as its documentation has it, a histogram without its parts."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("lading_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels}
            found[name] = labels - ({"le"} if family.type == "histogram" else set())
    return found


def test_the_documented_metrics_are_those_of_a_scrape(small: dict[str, Artifact]) -> None:
    with live_server(small["table"]) as live:
        live.client.post("/predict", json={"features": [[1, 2, 3, 4]]})
        found = scraped(live.client.get("/metrics").text)
        made = declared(live.app.metrics.registry)
    written = documented()
    assert set(found) == set(written)
    assert {name: found[name] or made.get(name, set()) for name in found} == written
