"""No alert without a severity, numbers, a runbook with commands, and tests that it fires, stays silent and resolves."""

from __future__ import annotations

from pathlib import Path

from lading.monitoring.rules import alerts_in
from lading.monitoring.slo import read_slo
from lading.monitoring.write import rule_files

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
SLOS = [read_slo(file) for file in sorted((MONITORING / "slos").glob("*.yaml"))]
ALERTS = alerts_in(group for groups in rule_files(SLOS).values() for group in groups)
NAMES = sorted({alert.name for alert in ALERTS})
