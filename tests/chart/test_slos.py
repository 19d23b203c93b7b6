"""SLOs that are given as values become the rules that `lading monitor` would write for them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lading.cli.main import app
from lading.monitoring.slo import EVERY_OTHER, Slo, read_slo
from lading.monitoring.write import rule_files
from tests.given.chart import CHART, ROOT, helm, tool

OWN = [read_slo(file) for file in sorted((ROOT / "monitoring" / "slos").glob("*.yaml"))]
FAST = {"latency": {"threshold_ms": 25}}
GIVEN: list[list[dict[str, Any]]] = [
    [{"model": "cards", **FAST}],
    [{"model": "fraud", **FAST}],
    [{"model": "*", **FAST}],
    [{"model": "fraud", **FAST}, {"model": "*", "latency": {"threshold_ms": 10_000}}, {"model": "cards", **FAST}],
    [{"model": "a-b.c_d", "window_days": 7, "min_requests": 1, "latency": {"objective": 0.5, "threshold_ms": 0.1}}],
    [{"model": "x", "window_days": 90, "min_requests": 1_000_000, "latency": {"threshold_ms": 1000}}],
    [{"model": "x", "availability": {"objective": 0.99999, "shed": "left out"}, **FAST}],
    [{"model": "x", "availability": {"objective": 0.9}, "latency": {"objective": 0.98765, "threshold_ms": 1.5}}],
    [{"model": "x", "availability": {"shed": "left out"}, **FAST}, {"model": "molecules", **FAST}],
    [{"model": "*", "availability": {"objective": 0.9995, "shed": "left out"}, "latency": {"threshold_ms": 250}}],
]


def rendered(given: list[dict[str, Any]], *more: str) -> list[dict[str, Any]]:
    """The groups that the chart makes of the SLOs."""
    words = ("--set", "monitoring.rules.enabled=true", "--set-json", f"monitoring.slos={json.dumps(given)}", *more)
    shown = ("--namespace", "serve", "--show-only", "templates/prometheusrule.yaml")
    result = helm("template", "cards", str(CHART), *words, *shown)
    assert result.returncode == 0, result.stderr
    (found,) = [one for one in yaml.safe_load_all(result.stdout) if one and one["metadata"]["name"] == "cards-slos"]
    groups: list[dict[str, Any]] = found["spec"]["groups"]
    return groups


def written(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups that Python makes of them, next to the chart's own for other models."""
    slos = [Slo.model_validate(one) for one in given]
    kept = [slo for slo in OWN if slo.model not in {one.model for one in slos}]
    groups = [group.to_dict() for group in rule_files([*kept, *slos])["slos"]]
    (pods,) = set(re.findall(r'pod=~\\".*?\\"', json.dumps(rendered([]))))
    text = json.dumps(groups).replace(r"namespace=~\".*\"", r"namespace=\"serve\"").replace(r"pod=~\".*\"", pods)
    found: list[dict[str, Any]] = json.loads(text.replace(r"release=~\".*\"", r"release=\"cards\""))
    for rule in (rule for group in found for rule in group["rules"]):
        rule["labels"] = {"release": "cards", **rule.get("labels", {})}
    return found


@pytest.mark.parametrize("given", GIVEN, ids=lambda given: ",".join(one["model"] for one in given))
def test_the_rules_are_those_that_python_writes(given: list[dict[str, Any]], tmp_path: Path) -> None:
    groups = {group["name"]: group for group in rendered(given)}
    wanted = {group["name"]: group for group in written(given)}
    assert groups.keys() == wanted.keys()
    for name, group in wanted.items():
        assert groups[name] == group, name
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": list(groups.values())}))
    checked = subprocess.run(
        [tool("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_without_any_the_chart_has_its_own() -> None:
    assert {group["name"] for group in rendered([])} == {group["name"] for group in written([])}


def test_an_alert_of_an_own_slo_can_be_left_out_and_labelled() -> None:
    more = ("--set", "monitoring.rules.exclude={LadingLatencyBudgetBurn},monitoring.rules.alertLabels.team=ml")
    alerts = [rule for group in rendered([{"model": "x", **FAST}], *more) for rule in group["rules"] if "alert" in rule]
    assert {alert["alert"] for alert in alerts} == {"LadingAvailabilityBudgetBurn"}
    assert {alert["labels"]["team"] for alert in alerts} == {"ml"}


def test_what_lading_monitor_writes_are_values(tmp_path: Path) -> None:
    files = [str(ROOT / "monitoring" / "slos" / f"{slo.id}.yaml") for slo in OWN]
    result = CliRunner().invoke(app, ["monitor", *files, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    values = yaml.safe_load((tmp_path / "chart" / "values.yaml").read_text())
    assert [one["model"] for one in values["monitoring"]["slos"]] == [slo.model for slo in OWN]
    assert EVERY_OTHER in {slo.model for slo in OWN}
    made = helm("template", "cards", str(CHART), "--values", str(tmp_path / "chart" / "values.yaml"))
    assert made.returncode == 0, made.stderr
    plain = {group["name"]: group for group in rendered([])}
    assert {group["name"]: group for group in rendered(values["monitoring"]["slos"])} == plain
