"""Alert policies of Google Cloud Monitoring, for notifications by Google.

They query Managed Service for Prometheus in PromQL. They read no recorded series, so they work without the ``Rules``.
``gcloud monitoring policies create --policy-from-file=FILE`` takes each file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lading.monitoring.alerts import ALERT_GROUPS
from lading.monitoring.rules import BURN_WINDOWS, RUNBOOKS, Alert, BurnWindow, alerts_in, seconds
from lading.monitoring.slo import EVERY_OTHER, Slo
from lading.monitoring.slo_rules import BY, Indicator, indicators

_SEVERITY = {"critical": "CRITICAL", "warning": "WARNING", "info": "WARNING"}


@dataclass(frozen=True)
class Policy:
    """One AlertPolicy of the API."""

    file: str
    name: str
    alert: str
    severity: str
    conditions: Sequence[tuple[str, str, float]]
    """Name, PromQL, and for how many seconds it must be true. Any one of them opens an incident."""
    text: str

    def to_dict(self) -> dict[str, Any]:
        """The form that ``gcloud`` reads."""
        return {
            "displayName": self.name,
            "combiner": "OR",
            "severity": self.severity,
            "userLabels": {"app": "lading", "alert": self.alert.lower()},
            "conditions": [
                {
                    "displayName": name,
                    "conditionPrometheusQueryLanguage": {
                        "query": query,
                        # The API takes multiples of 30 seconds.
                        "duration": f"{round(wait / 30) * 30}s",
                        "evaluationInterval": "30s",
                        "alertRule": self.alert,
                    },
                }
                for name, query, wait in self.conditions
            ],
            "documentation": {
                "mimeType": "text/markdown",
                "content": f"{self.text}\n\n[Runbook]({RUNBOOKS}/{self.alert}.md)",
            },
            "alertStrategy": {"autoClose": "1800s"},
        }


def policies(slos: Sequence[Slo]) -> list[Policy]:
    """A page and a ticket for each objective of an SLO, and one policy for each other alert."""
    others = sorted(slo.model for slo in slos if slo.model != EVERY_OTHER)
    burning = [
        _burn(one, severity) for slo in slos for one in indicators(slo, others) for severity in ("critical", "warning")
    ]
    return burning + [_plain(alert) for alert in alerts_in(ALERT_GROUPS)]


def _burn(one: Indicator, severity: str) -> Policy:
    windows = [window for window in BURN_WINDOWS if window.severity == severity]
    kind = "page" if severity == "critical" else "ticket"
    return Policy(
        file=f"{one.slo.id}-{one.name}-{kind}.yaml",
        name=f"Lading: {one.slo.id} burns its {one.name} budget ({kind})",
        alert=one.alert,
        severity=_SEVERITY[severity],
        conditions=[
            (f"{w.long} and {w.short} above {w.factor:g}", _burn_query(one, w), seconds(w.wait)) for w in windows
        ],
        text=f"Too many requests to {one.slo.id} {one.summary}: its error budget burns too fast.",
    )


def _burn_query(one: Indicator, window: BurnWindow) -> str:
    limit = f"{window.factor * (1 - one.objective):.6g}"
    long, short = (f"({one.error_ratio.replace('WINDOW', length)}) > {limit}" for length in (window.long, window.short))
    enough = one.total.replace("rate(", "increase(").replace("WINDOW", window.long)
    return f"{long}\nand {short}\nand on ({BY}) {enough} >= {one.slo.min_requests}"


def _plain(alert: Alert) -> Policy:
    kind = "-page" if alert.severity == "critical" else ""
    return Policy(
        file=f"{alert.name}{kind}.yaml",
        name=f"Lading: {alert.name}{kind}",
        alert=alert.name,
        severity=_SEVERITY[alert.severity],
        conditions=[(alert.name, alert.expr, seconds(alert.wait))],
        text=f"The condition's query has returned something for {alert.wait}; the incident shows its value and labels.",
    )
