"""What is generated from SLO files, as texts by path: what ``make generate`` and ``lading monitor`` write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lading.monitoring.cloud_monitoring import policies
from lading.monitoring.dashboards import BOARDS
from lading.monitoring.dashboards.panels import board_json
from lading.monitoring.rules_file import gke_rules_yaml, rule_files, rules_yaml, to_yaml
from lading.monitoring.slo import Slo, read_slo

CHART = Path("helm/lading/monitoring")
GKE = Path("k8s/gke/monitoring")


def chart_files(slos: Sequence[Slo]) -> dict[str, str]:
    """Rules and dashboards, as Prometheus and Grafana read them and the chart renders them."""
    rules = {f"{name}.yaml": rules_yaml(groups) for name, groups in rule_files(slos).items()}
    return rules | {f"{board.name}.json": board_json(board) for board in BOARDS}


def gke_files(slos: Sequence[Slo]) -> dict[str, str]:
    """``Rules`` of managed Prometheus, and alert policies of Cloud Monitoring."""
    groups = [group for file in rule_files(slos).values() for group in file]
    written = {f"policies/{policy.file}": to_yaml(policy.to_dict()) for policy in policies(slos)}
    return {"rules.yaml": gke_rules_yaml(groups)} | written


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write the files; one of the same kind that is generated no more is removed."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    for place in {(folder / name).parent for name in files}:
        for old in place.glob("*"):
            if old.suffix in {Path(name).suffix for name in files} and str(old.relative_to(folder)) not in files:
                old.unlink()
    for name, text in files.items():
        (folder / name).write_text(text)


def generate(root: Path) -> None:
    """Write what the repository holds, from ``monitoring/slos``."""
    slos = [read_slo(file) for file in sorted((root / "monitoring" / "slos").glob("*.yaml"))]
    write_files(root / CHART, chart_files(slos))
    write_files(root / GKE, gke_files(slos))
