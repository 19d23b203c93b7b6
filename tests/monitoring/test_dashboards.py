"""Dashboards: what a reader at two in the morning needs on every panel, and what Grafana needs of the JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from lading.monitoring.dashboards import BOARDS
from lading.monitoring.dashboards.panels import Board, Panel, board_json
from tests.given.alert_names import NAMES

PANELS = [(board, panel) for board in BOARDS for panel in board.panels]
UNITS = {"none", "percentunit", "reqps", "ops", "s", "Bps", "bytes", "d"}


def built(board: Board) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(board_json(board))
    return document


def drawn(board: Board) -> Iterator[dict[str, Any]]:
    return (panel for panel in built(board)["panels"] if panel["type"] != "row")


def of(value: object) -> str:
    return value.title if isinstance(value, Panel) else getattr(value, "name", str(value))


@pytest.mark.parametrize("board", BOARDS, ids=of)
def test_a_dashboard_can_be_imported_and_found(board: Board) -> None:
    document = built(board)
    assert document["uid"] == f"lading-{board.name}"
    assert document["schemaVersion"] >= 39
    assert "lading" in document["tags"]
    assert document["links"][0]["type"] == "dashboards"
    names = [variable["name"] for variable in document["templating"]["list"]]
    assert names[:2] == ["datasource", "namespace"]
    assert document["templating"]["list"][0]["query"] == "prometheus"
    assert len({panel["title"] for panel in drawn(board)}) == len(board.panels)


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=of)
def test_a_panel_says_what_it_shows_in_which_unit(board: Board, panel: Panel) -> None:
    assert len(panel.title) > 2
    assert panel.title[0].isupper() or panel.title.startswith("p99")
    assert len(panel.description) >= 20
    assert panel.description.endswith(".")
    assert panel.unit in UNITS
    assert set(panel.runbooks) <= set(NAMES)


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=of)
def test_a_query_depends_on_the_variables_and_on_no_name_of_a_job(board: Board, panel: Panel) -> None:
    variables = {name for name, _ in board.variables} | {"__rate_interval"}
    for query in panel.queries:
        assert "$namespace" in query.expr
        assert set(re.findall(r"\$(\w+)", query.expr)) <= variables
        assert not re.search(r"""\bjob\s*[=!]""", query.expr)
        for window in re.findall(r"rate\([^{]+(?:{.*?})?\[([^\]]+)\]", query.expr):
            assert window == "$__rate_interval"
    if len(panel.queries) > 1:
        assert all(query.legend for query in panel.queries)


@pytest.mark.parametrize("board", BOARDS, ids=of)
def test_every_panel_reads_the_data_source_that_was_picked(board: Board) -> None:
    for panel in drawn(board):
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"]


def test_every_alert_is_explained_by_a_panel() -> None:
    assert {alert for _, panel in PANELS for alert in panel.runbooks} == set(NAMES)


def test_panels_of_durations_lead_to_traces() -> None:
    asked = {
        target["expr"]: target.get("exemplar", False)
        for board in BOARDS
        for panel in drawn(board)
        for target in panel["targets"]
    }
    durations = {expr for expr in asked if "_duration_seconds_bucket" in expr}
    assert durations
    assert {expr for expr, exemplar in asked.items() if exemplar} == durations
