"""The dashboards get into Grafana: found by the sidecar, provisioned from files, and described on a page."""

from __future__ import annotations

import yaml

from lading.monitoring.dashboards import BOARDS
from tests.given.chart import CHART, ROOT, render
from tools.generate import NOTE
from tools.grafana import grafana_markdown

PROVISIONING = ROOT / "monitoring" / "grafana" / "provisioning"


def test_the_page_shows_every_panel_and_every_query() -> None:
    page = (ROOT / "docs" / "grafana.md").read_text()
    assert page == NOTE + grafana_markdown()
    for board in BOARDS:
        for panel in board.panels:
            assert f"| {panel.title} | {panel.description} |" in page
            for query in panel.queries:
                assert " ".join(query.expr.split()).replace("|", "\\|") in page


def test_the_sidecar_of_kube_prometheus_stack_finds_them_in_a_folder_under_names_of_their_own() -> None:
    objects = render("monitoring.dashboards.enabled=true")
    found = [one for one in objects if one["metadata"]["labels"].get("grafana_dashboard") == "1"]
    assert len(found) == len(BOARDS)
    for one in found:
        assert one["kind"] == "ConfigMap"
        assert one["metadata"]["annotations"]["grafana_folder"] == "Lading"
        (file,) = one["data"]
        assert file.startswith("lading-"), "the sidecar puts the files of all charts into one folder"
        assert file.endswith(".json")


def test_the_provisioning_files_name_a_data_source_of_the_dashboards_type_and_their_folder() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "lading.yaml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "lading.yaml").read_text())["providers"]
    assert f"{CHART.relative_to(ROOT)}/monitoring:{provider['options']['path']}:ro" in grafana_markdown()
