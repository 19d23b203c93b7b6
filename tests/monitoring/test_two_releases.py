"""Two releases in one namespace, whose names begin the same: rules, dashboards and KEDA's queries keep them apart."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lading.deploy.canary.evidence import pods_of
from lading.monitoring.dashboards import BOARDS
from lading.monitoring.dashboards.panels import board_json
from tests.given.alert_names import MONITORING, ROOT

HELM = str(ROOT / "build" / "tools" / "helm") if (ROOT / "build" / "tools" / "helm").is_file() else "helm"
POD = "7d9f8b6c5d-x2x4z"
OWN = {"pod": f"cards-{POD}", "deployment": "cards", "horizontalpodautoscaler": "cards"}
OTHERS = [
    {"pod": f"cards-b-{POD}", "deployment": "cards-b", "horizontalpodautoscaler": "cards-b"},
    {"pod": f"cards2-{POD}", "deployment": "cards2", "horizontalpodautoscaler": "cards2"},
    {"pod": f"my-cards-{POD}", "deployment": "my-cards", "horizontalpodautoscaler": "my-cards"},
    {"pod": f"cards-frontend-{POD}", "deployment": "cards-frontend"},
    {"pod": "cards-load-3-x2x4z"},
    {"pod": "cards-golden"},
    {"pod": "cards-b-x2x4z"},
]
"""Names that are next to those of the release `cards`: of another release, its page, its Jobs, a DaemonSet."""
MATCHER = re.compile(r'(pod|deployment|horizontalpodautoscaler|scaledobject)=(~?)\\?"([^"\\]+)\\?"')


def rendered(*sets: str, release: str = "cards") -> list[dict[str, Any]]:
    if shutil.which(HELM) is None:
        pytest.skip("Helm is not installed: `make test-chart` installs it")
    options = [word for value in ("monitoring.rules.enabled=true", *sets) for word in ("--set", value)]
    words = [HELM, "template", release, str(ROOT / "helm" / "lading"), "--namespace", "prod", *options]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def matched(text: str) -> list[str]:
    """Each matcher of a query that takes a name of another release or workload."""
    found = []
    for label, regular, value in MATCHER.findall(text):
        pattern = value if regular else re.escape(value)
        for other in OTHERS:
            if label in other and re.fullmatch(pattern, other[label]) and value != ".*":
                found.append(f'{label}=~"{value}" matches {other[label]}')
    return found


@pytest.mark.parametrize(
    "sets",
    [(), ("autoscaling.kind=keda",), ("mode=kserve",), ("fullnameOverride=cards", "autoscaling.kind=hpa")],
    ids=str,
)
def test_no_query_of_a_release_takes_the_pods_of_another(sets: tuple[str, ...]) -> None:
    for document in rendered(*sets):
        if document["kind"] != "ConfigMap":  # dashboards are below: their variables are chosen by a person
            text = yaml.safe_dump(document, width=10_000)
            assert not matched(text)
            assert 'pod=~".*"' not in text


def test_a_query_takes_the_pods_of_its_own_release() -> None:
    text = "\n".join(yaml.safe_dump(document, width=10_000) for document in rendered("autoscaling.kind=keda"))
    patterns = {value for label, regular, value in MATCHER.findall(text) if label == "pod" and regular}
    assert patterns
    assert all(re.fullmatch(pattern, OWN["pod"]) for pattern in patterns)
    long = "a" * 53
    (pattern,) = {
        value
        for label, regular, value in MATCHER.findall(
            "\n".join(yaml.safe_dump(document, width=10_000) for document in rendered(f"fullnameOverride={long}"))
        )
        if label == "pod" and regular
    }
    assert re.fullmatch(pattern, f"{long}-7d9f8b6c5d-"[:58] + "x2x4z"), "Kubernetes cuts a long name"


def test_no_dashboard_takes_the_pods_of_another_workload() -> None:
    for board in BOARDS:
        text = json.dumps(json.loads(board_json(board))).replace("$workload", "cards").replace('\\"', '"')
        assert not matched(text), board.name


def test_the_canary_takes_the_pods_of_its_own_two_releases() -> None:
    assert not matched(pods_of("prod", "cards"))


def test_recorded_series_and_alerts_carry_the_release() -> None:
    for release in ("cards", "cards-b"):
        groups = [
            group
            for document in rendered(release=release)
            if document["kind"] == "PrometheusRule"
            for group in document["spec"]["groups"]
        ]
        rules = [rule for group in groups for rule in group["rules"]]
        assert rules
        assert {rule["labels"]["release"] for rule in rules} == {release}
        recorded = [selector for rule in rules for selector in re.findall(r"\bslo:[\w:]+(\{[^}]*\})", rule["expr"])]
        assert recorded
        assert all(f'release="{release}"' in selector for selector in recorded)


def rules_of(release: str, folder: Path) -> list[str]:
    """The release's rules as files of Prometheus, by what they are generated from."""
    files = []
    for document in rendered("fullnameOverride=cards", release=release):
        if document["kind"] == "PrometheusRule":
            file = folder / f"{document['metadata']['name'].rpartition('-')[2]}.yaml"
            file.write_text(yaml.safe_dump(document["spec"]))
            files.append(str(file))
    return files


def about(series: str, names: dict[str, str]) -> str:
    """A series of a test, as one of the workload with these names."""
    for label, name in names.items():
        series = re.sub(rf'\b{label}="[^"]*lading[^"]*"', f'{label}="{name}"', series)
    return (
        series if "pod=" in series or series.startswith("kube_") else series.replace("{", f'{{pod="{names["pod"]}",', 1)
    )


@pytest.mark.slow
def test_what_happens_to_the_other_release_raises_no_alert_of_this_one(tmp_path: Path) -> None:
    """Every case in which an alert fires, once as the release's own and once as the other's."""
    rules_of("cards", tmp_path)
    loud: dict[str, tuple[bool, bool]] = {}
    for file in sorted((MONITORING / "tests").glob("*.yaml")):
        outcomes = []
        for names in (OWN, OTHERS[0]):
            document = yaml.safe_load(file.read_text())
            document["rule_files"] = [str(tmp_path / Path(one).name) for one in document["rule_files"]]
            document["tests"] = [
                test for test in document["tests"] if any(c["exp_alerts"] for c in test["alert_rule_test"])
            ]
            for test in document["tests"]:
                for one in test["input_series"]:
                    one["series"] = about(one["series"], names)
                for case in test["alert_rule_test"]:
                    case["exp_alerts"] = []
            changed = tmp_path / "tests.yaml"
            changed.write_text(yaml.safe_dump(document))
            ended = subprocess.run(["promtool", "test", "rules", str(changed)], capture_output=True, check=False)
            outcomes.append(ended.returncode != 0)
        loud[file.stem] = (outcomes[0], outcomes[1])
    assert {name: both for name, both in loud.items() if both != (True, False)} == {}
