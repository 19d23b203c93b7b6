"""Parts of our dashboards: rows of panels, each with queries, a unit, and a text that explains it.

Grafana's own builders write the JSON, so that its schema is theirs to keep.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from grafana_foundation_sdk.builders import dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import table as table_panel
from grafana_foundation_sdk.builders.common import ReduceDataOptions, StackingConfig, VizLegendOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import DataSourceRef, GraphThresholdsStyleConfig, StackingMode
from grafana_foundation_sdk.models.common import GraphThresholdsStyleMode as ThresholdsStyle
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from lading.deploy.kubernetes import POD_SUFFIX
from lading.monitoring.rules import RUNBOOKS

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "lading"
Kind = Literal["lines", "stack", "number", "heatmap", "table"]


@dataclass(frozen=True)
class Query:
    """One PromQL expression and the name of its lines."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    kind: Kind = "lines"
    thresholds: Sequence[tuple[float, str]] = ()
    """Colours from a value upwards. Below the first it is green."""
    runbooks: Sequence[str] = ()
    """Alerts that this panel explains."""
    width: int = 8


@dataclass(frozen=True)
class PanelRow:
    """A heading and its panels."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Board:
    """One dashboard."""

    name: str
    """Name of its file."""
    title: str
    description: str
    variables: Sequence[tuple[str, str]]
    """Names, and the queries that list their values."""
    rows: Sequence[PanelRow]

    @property
    def panels(self) -> list[Panel]:
        """All panels, in order."""
        return [panel for row in self.rows for panel in row.panels]


def board_json(board: Board) -> str:
    """The JSON that Grafana imports."""
    builder = (
        dashboard.Dashboard(board.title)
        .uid(f"lading-{board.name}")
        .description(board.description)
        .tags([TAG])
        .time("now-3h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Lading")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for name, query in board.variables:
        builder.with_variable(_variable(name, query))
    for row in board.rows:
        builder.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            builder.with_panel(_panel(panel))
    built: dict[str, Any] = json.loads(json.dumps(builder.build(), cls=JSONEncoder))
    return json.dumps(built, indent=2, sort_keys=True) + "\n"


def _variable(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(DATASOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        # ".*" also matches series without the label, as from a Prometheus outside Kubernetes.
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _panel(panel: Panel) -> Any:
    builder = _builder(panel.kind)
    builder.title(panel.title).description(panel.description).unit(panel.unit).datasource(DATASOURCE)
    builder.span(panel.width).height(8).interval("15s")
    builder.thresholds(_thresholds(panel.thresholds))
    if panel.runbooks:
        builder.links([_runbook(alert) for alert in panel.runbooks])
    if panel.kind == "lines" and panel.thresholds:
        builder.thresholds_style(_Built(GraphThresholdsStyleConfig(mode=ThresholdsStyle.DASHED)))
    for index, query in enumerate(panel.queries):
        builder.with_target(_target(panel, query, chr(ord("A") + index)))
    return builder


def _builder(kind: Kind) -> Any:
    legend = VizLegendOptions().show_legend(True).calcs(["mean", "max", "lastNotNull"])
    if kind == "number":
        return stat.Panel().reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    if kind == "heatmap":
        return heatmap.Panel().calculate(False)
    if kind == "table":
        return table_panel.Panel()
    lines = timeseries.Panel().min(0).fill_opacity(10).legend(legend)
    return lines.stacking(StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(40) if kind == "stack" else lines


def _target(panel: Panel, query: Query, ref: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).ref_id(ref).legend_format(query.legend or "__auto")
    target.datasource(DATASOURCE)
    if "_duration_seconds_bucket" in query.expr:
        target.exemplar(True)  # dots that lead to the traces of slow requests
    if panel.kind == "heatmap":
        target.format(PromQueryFormat.HEATMAP)
    if panel.kind == "table":
        target.format(PromQueryFormat.TABLE).instant()
    return target


def _thresholds(steps: Sequence[tuple[float, str]]) -> dashboard.ThresholdsConfig:
    first = models.Threshold(value=None, color="green")
    rest = [models.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps([first, *rest])


def _runbook(alert: str) -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink(f"Runbook: {alert}")
        .type(models.DashboardLinkType.LINK)
        .url(f"{RUNBOOKS}/{alert}.md")
        .target_blank(True)
    )


class _Built:
    """A fixed value where the library expects a builder."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def build(self) -> Any:
        """Give the value."""
        return self._value


def quantile(share: float, histogram: str, selector: str, by: str = "") -> str:
    """A quantile of a histogram over all servers."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket{{{selector}}}{RATE})))"


def mean(metric: str, selector: str, by: str) -> str:
    """The mean of a histogram or summary."""
    top, bottom = (f"sum by ({by}) (rate({metric}_{part}{{{selector}}}{RATE}))" for part in ("sum", "count"))
    return f"{top} / ({bottom} > 0)"


NAMESPACE = 'namespace=~"$namespace"'
MODEL = f'{NAMESPACE},model=~"$model"'
VARIANT = f'{MODEL},variant=~"$variant"'
WORKLOAD = f'{NAMESPACE},pod=~"$workload-{POD_SUFFIX}"'
RATE = "[$__rate_interval]"

NAMESPACES = ("namespace", "label_values(lading_model_info, namespace)")
MODELS = ("model", f"label_values(lading_model_info{{{NAMESPACE}}}, model)")
VARIANTS = ("variant", f"label_values(lading_model_info{{{MODEL}}}, variant)")
WORKLOADS = ("workload", f"label_values(kube_deployment_spec_replicas{{{NAMESPACE}}}, deployment)")
OF_MODELS = (NAMESPACES, MODELS, VARIANTS)
"""Variables of the dashboards about models."""
