"""Write the files that are generated from SLOs: rules for Prometheus and GKE, policies, dashboards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lading.errors import OccupiedError
from lading.monitoring.alerts import ALERT_GROUPS
from lading.monitoring.cloud import policies
from lading.monitoring.dashboards import BOARDS
from lading.monitoring.dashboards.panels import board_json
from lading.monitoring.rules import EVERYWHERE, WORKLOAD, Group
from lading.monitoring.slo import EVERY_OTHER, Slo, read_slo
from lading.monitoring.slo_rules import slo_groups
from lading.monitoring.slo_template import slo_template

CHART = Path("helm/lading/monitoring")
GKE = Path("k8s/gke/monitoring")


def chart_files(slos: Sequence[Slo]) -> dict[str, str]:
    """Rules for Prometheus and dashboards for Grafana, which the chart renders too."""
    rules = {f"{name}.yaml": rules_yaml(groups) for name, groups in rule_files(slos).items()}
    rules["slo.yaml.tpl"] = NOTE + to_yaml(slo_template())
    return rules | {f"{board.name}.json": board_json(board) for board in BOARDS}


def values_yaml(slos: Sequence[Slo]) -> str:
    """Values of the chart that install the rules of these SLOs."""
    named = [slo.model_dump() for slo in slos]
    return NOTE + to_yaml({"monitoring": {"rules": {"enabled": True}, "slos": named}})


def gke_files(slos: Sequence[Slo]) -> dict[str, str]:
    """``Rules`` of managed Prometheus, and alert policies of Cloud Monitoring."""
    groups = [group for file in rule_files(slos).values() for group in file]
    written = {f"policies/{policy.file}": NOTE + to_yaml(policy.to_dict()) for policy in policies(slos)}
    return {"rules.yaml": gke_rules_yaml(groups)} | written


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write the files, and remove those of an earlier run that are no longer generated.

    Raises:
        OccupiedError: a file of one of the names is there, and was not written by this function.
    """
    places = {(folder / name).parent for name in files}
    ours = {file for place in places if place.is_dir() for file in place.iterdir() if _is_ours(file)}
    for name in files:
        if (folder / name).exists() and folder / name not in ours:
            raise OccupiedError(
                f"{folder / name} is there, and Lading did not write it: give another folder, or move it away"
            )
    for old in ours - {folder / name for name in files}:
        old.unlink()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def _is_ours(file: Path) -> bool:
    """Whether a file was generated: rules and values say so in their first line, dashboards in their uid."""
    if not file.is_file():
        return False
    text = file.read_text(errors="replace")
    return text.startswith(NOTE) or (file.suffix == ".json" and _uid(text).startswith("lading"))


def _uid(dashboard: str) -> str:
    try:
        return str(json.loads(dashboard)["uid"])
    except (ValueError, TypeError, KeyError):
        return ""


def generate(root: Path) -> None:
    """Write the repository's own files from ``monitoring/slos``."""
    slos = [read_slo(file) for file in sorted((root / "monitoring" / "slos").glob("*.yaml"))]
    write_files(root / CHART, chart_files(slos))
    write_files(root / GKE, gke_files(slos))


NOTE = "# Generated from SLOs by `lading monitor`, or by `make generate` for the chart.\n"
_CHART = f"""\
# The chart renders each of these files as a PrometheusRule, with {EVERYWHERE} narrowed to the release's namespace,
# pods to the release's own, and {WORKLOAD} to its Deployment. As it stands, Prometheus reads it too.
"""


def rule_files(slos: Sequence[Slo]) -> dict[str, list[Group]]:
    """The rules of each file: those of the SLOs, and the other alerts."""
    own = sorted(slo.model for slo in slos if slo.model != EVERY_OTHER)
    return {"slos": [group for slo in slos for group in slo_groups(slo, own)], "alerts": list(ALERT_GROUPS)}


def rules_yaml(groups: Sequence[Group]) -> str:
    """A rules file of Prometheus."""
    return NOTE + _CHART + to_yaml({"groups": [group.to_dict() for group in groups]})


def gke_rules_yaml(groups: Sequence[Group]) -> str:
    """A ``Rules`` object. GKE evaluates it for its own namespace only."""
    document = {
        "apiVersion": "monitoring.googleapis.com/v1",
        "kind": "Rules",
        "metadata": {"name": "lading", "labels": {"app.kubernetes.io/name": "lading"}},
        "spec": {"groups": [{"name": group.name, "interval": "30s", **group.to_dict()} for group in groups]},
    }
    return NOTE + to_yaml(document)


def to_yaml(document: Any) -> str:
    """YAML in block style and in the given order. Expressions keep their lines."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=150, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes text with several lines as a block."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
