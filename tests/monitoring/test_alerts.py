"""Each alert has a severity, numbers, a runbook with commands, and tests that it fires, stays silent and resolves."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from lading.monitoring.rules import RUNBOOKS, Alert
from lading.monitoring.write import chart_files, gke_files, rule_files
from lading.serve.telemetry.metrics import Metrics
from tests.given.alert_names import ALERTS, MONITORING, NAMES, ROOT, SLOS

FROM_KUBERNETES = re.compile(r"^(kube_|container_|up$|process_|slo:|ALERTS)")
METRIC = re.compile(r"\b(lading_[a-z_]+|kube_[a-z_]+|container_[a-z_]+)(?=\{)")
OF_THE_PAYLOAD_LOG_AND_DRIFT = {
    "lading_payload_dropped_total",
    "lading_drift_score",
    "lading_drift_threshold",
    "lading_drift_evaluated_timestamp_seconds",
}


def cases_of(name: str) -> list[dict[str, Any]]:
    file = MONITORING / "tests" / f"{name}.yaml"
    assert file.is_file(), f"{name} has no tests at {file}"
    document = yaml.safe_load(file.read_text())
    return [group for group in document["tests"] if any(case["alertname"] == name for case in group["alert_rule_test"])]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert.name}-{alert.severity}")
def test_an_alert_says_how_bad_it_is_and_shows_its_numbers(alert: Alert) -> None:
    assert alert.severity in ("critical", "warning")
    assert "$labels." in alert.summary
    assert alert.summary[-1] in ".?"
    number = "{{ $value" in alert.summary
    assert number or re.search(r"== [01]\b|up\{", alert.expr), "a quantity, or a yes and no"
    assert alert.to_dict()["annotations"]["runbook_url"] == f"{RUNBOOKS}/{alert.name}.md"


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_has_a_runbook_with_commands_and_fixes(name: str) -> None:
    page = (MONITORING / "runbooks" / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    check = page.split("## Check\n", 1)[1].split("## Fix\n", 1)[0]
    block = re.search(r"```sh\n(.+?)```", check, re.DOTALL)
    assert block, "no commands"
    assert len(block[1].splitlines()) >= 2
    assert page.split("## Fix\n", 1)[1].count("\n- ") >= 1
    for link in re.findall(r"\]\(([^)#]+)\)", page):
        assert (MONITORING / "runbooks" / link).is_file(), link


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_is_tested_to_fire_to_stay_silent_and_to_resolve(name: str) -> None:
    fires = stays_silent = resolves = False
    for group in cases_of(name):
        loud = [bool(case["exp_alerts"]) for case in group["alert_rule_test"]]
        assert group["name"].startswith(f"{name} "), "a sentence about the alert"
        fires |= any(loud)
        stays_silent |= not any(loud)
        resolves |= any(loud) and not loud[-1]
    assert (fires, stays_silent, resolves) == (True, True, True)


def test_promtool_evaluates_the_groups_of_every_slo_in_their_order() -> None:
    groups = [group.name for group in rule_files(SLOS)["slos"]]
    for file in (MONITORING / "tests").glob("*.yaml"):
        document = yaml.safe_load(file.read_text())
        if any(name.endswith("slos.yaml") for name in document["rule_files"]):
            assert document["group_eval_order"] == groups, file.name


def test_each_reference_model_has_an_slo_and_so_has_every_other() -> None:
    assert [slo.model for slo in SLOS] == ["cards", "molecules", "*"]


def test_no_runbook_or_test_is_left_over_from_an_alert_that_is_gone() -> None:
    assert {file.stem for file in (MONITORING / "runbooks").glob("Lading*.md")} == set(NAMES)
    assert {file.stem for file in (MONITORING / "tests").glob("*.yaml")} == set(NAMES)


@pytest.mark.parametrize("page", ["docs/monitoring.md", "monitoring/runbooks/README.md"])
def test_the_lists_of_alerts_name_every_alert(page: str) -> None:
    text = (ROOT / page).read_text()
    assert [name for name in NAMES if name not in text] == []


def test_every_metric_that_an_alert_asks_for_is_one_that_the_server_has() -> None:
    asked = {metric for alert in ALERTS for metric in METRIC.findall(alert.expr) if metric.startswith("lading_")}
    registered = {name for collector in Metrics().registry._collector_to_names.values() for name in collector}
    assert not asked - registered - OF_THE_PAYLOAD_LOG_AND_DRIFT


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["slos", "alerts"])
def test_prometheus_accepts_the_rules(kind: str) -> None:
    file = ROOT / "helm" / "lading" / "monitoring" / f"{kind}.yaml"
    subprocess.run(["promtool", "check", "rules", "--lint=all", "--lint-fatal", str(file)], check=True)


@pytest.mark.slow
def test_every_alert_fires_stays_silent_and_resolves_as_its_tests_say() -> None:
    files = sorted(str(file) for file in (MONITORING / "tests").glob("*.yaml"))
    result = subprocess.run(["promtool", "test", "rules", *files], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_gke_gets_the_same_rules_and_a_policy_for_every_alert() -> None:
    rules = yaml.safe_load(gke_files(SLOS)["rules.yaml"])
    plain = [yaml.safe_load(text)["groups"] for name, text in chart_files(SLOS).items() if name.endswith(".yaml")]
    assert [group["rules"] for group in rules["spec"]["groups"]] == [g["rules"] for groups in plain for g in groups]
    assert (rules["apiVersion"], rules["kind"]) == ("monitoring.googleapis.com/v1", "Rules")
    policies = [yaml.safe_load(text) for name, text in gke_files(SLOS).items() if name.startswith("policies/")]
    said = {
        condition["conditionPrometheusQueryLanguage"]["alertRule"] for p in policies for condition in p["conditions"]
    }
    assert said == set(NAMES)


@pytest.mark.parametrize("policy", [name for name in gke_files(SLOS) if name.startswith("policies/")])
def test_a_policy_has_what_the_api_asks_for(policy: str) -> None:
    """Of the reference of projects.alertPolicies: required fields, their forms, and PromQL without recorded series."""
    document = yaml.safe_load(gke_files(SLOS)[policy])
    assert document["combiner"] == "OR"
    assert document["severity"] in ("CRITICAL", "ERROR", "WARNING")
    assert all(re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", value) for value in document["userLabels"].values())
    assert 1 <= len(document["conditions"]) <= 6
    for condition in document["conditions"]:
        asked = condition["conditionPrometheusQueryLanguage"]
        assert "slo:" not in asked["query"]
        assert int(asked["duration"].removesuffix("s")) % 30 == 0
    assert f"{RUNBOOKS}/" in document["documentation"]["content"]
