# ruff: noqa: E501 - lines of Markdown
"""Write docs/grafana.md: how the dashboards get into Grafana, and every panel with its query."""

from __future__ import annotations

from lading.monitoring.dashboards import BOARDS
from lading.monitoring.dashboards.panels import Board, Panel

HEAD = """\
# Grafana

Five dashboards for Grafana 10 and later are in `helm/lading/monitoring/*.json`. Variables choose data source, namespace,
model and variant, so they show servers with and without TLS, of any scrape job and release. A test sends every query to a
Prometheus that scrapes real servers, and expects data.

## With kube-prometheus-stack

```sh
helm upgrade --install cards helm/lading -f values.yaml --set monitoring.scrape=podMonitor,monitoring.rules.enabled=true,monitoring.dashboards.enabled=true,monitoring.labels.release=kube-prometheus-stack --wait
kubectl --namespace monitoring port-forward service/kube-prometheus-stack-grafana 3001:80
```

The sidecar of the stack's Grafana looks in all namespaces for ConfigMaps with the label `grafana_dashboard: "1"`, which is
the default of `monitoring.dashboards.labels`. `monitoring.labels.release` is the name of the stack's release: its Prometheus
selects monitors and rules by it. For a folder of their own, set in the stack's values:

```yaml
grafana:
  sidecar:
    dashboards:
      folderAnnotation: grafana_folder
      provider: {foldersFromFilesStructure: true}
```

The chart's ConfigMaps already have the annotation `grafana_folder: Lading`. With several releases, switch the dashboards on
in one of them: they show all.

## With Grafana alone

`monitoring/grafana/provisioning` has the files that Grafana reads when it starts:

```sh
docker run --publish 3001:3000 --env PROMETHEUS_URL=http://host.docker.internal:9090 --volume "$PWD/monitoring/grafana/provisioning:/etc/grafana/provisioning:ro" --volume "$PWD/helm/lading/monitoring:/var/lib/grafana/dashboards/lading:ro" grafana/grafana:11.6.0
```

Or import a JSON file by *Dashboards, New, Import*.

## Panels

`$namespace`, `$model`, `$variant` and `$workload` are the variables above the panels. `$__rate_interval` is at least four
scrapes.
"""


def grafana_markdown() -> str:
    """The page."""
    return HEAD + "".join(_board(board) for board in BOARDS)


def _board(board: Board) -> str:
    parts = [f"\n### {board.title.removeprefix('Lading / ')}\n\n{board.description}\n"]
    for row in board.rows:
        parts.append(f"\n**{row.title}**\n\n| Panel | What it tells | Query |\n|---|---|---|\n")
        parts += [f"| {panel.title} | {panel.description} | {_queries(panel)} |\n" for panel in row.panels]
    return "".join(parts)


def _queries(panel: Panel) -> str:
    return "<br>".join(f"`{' '.join(query.expr.split())}`".replace("|", "\\|") for query in panel.queries)
