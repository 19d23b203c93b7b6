"""Recording rules and alerts as data, and the windows over which a budget may burn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Severity = Literal["critical", "warning", "info"]
"""critical: page someone. warning: a ticket. info: shown, not sent."""

RUNBOOKS = "https://github.com/lading/lading/blob/main/monitoring/runbooks"

EVERYWHERE = 'namespace=~".*"'
"""Matches series with and without a namespace. The chart puts its release's namespace here."""
SERVERS = f'{EVERYWHERE},pod=~".*"'
"""Matches the series of servers, with and without a pod. The chart puts the names of its release's pods here, because
two releases of one namespace may serve the same model."""
WORKLOAD = ".*lading.*"
"""Names of the watched Deployments and autoscalers. The chart puts its own here."""
PODS = f'{EVERYWHERE},pod=~"{WORKLOAD}"'
"""Matches what Kubernetes says about the pods. The chart puts the names of its release's pods here."""
RELEASE = 'release=~".*"'
"""Matches recorded series with and without a release. The chart adds this label to its rules, and puts its own here."""

_DURATION = re.compile(r"(?<=[\[:])(\d+)(ms|[smhdwy])(?=[\]:])")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


@dataclass(frozen=True)
class RecordingRule:
    """A series that Prometheus computes once and dashboards read often."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The form of a rules file."""
        rule: dict[str, Any] = {"record": self.record, "expr": self.expr}
        return rule | ({"labels": dict(self.labels)} if self.labels else {})


@dataclass(frozen=True)
class Alert:
    """An alerting rule."""

    name: str
    expr: str
    severity: Severity
    summary: str
    """One sentence with the numbers; a template of Prometheus."""
    wait: str = "5m"
    """How long the expression must be true."""
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The form of a rules file."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.wait,
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {"summary": self.summary, "runbook_url": f"{RUNBOOKS}/{self.name}.md"},
        }


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated together, in order."""

    name: str
    rules: Sequence[RecordingRule | Alert]

    def to_dict(self) -> dict[str, Any]:
        """The form of a rules file."""
        return {"name": self.name, "rules": [rule.to_dict() for rule in self.rules]}


def alerts_in(groups: Iterable[Group]) -> list[Alert]:
    """Every alert, in order."""
    return [rule for group in groups for rule in group.rules if isinstance(rule, Alert)]


def shortened(groups: Iterable[Group], factor: float) -> list[Group]:
    """The same rules with every window and wait divided by ``factor``: a test sees in seconds what takes hours."""

    def shorter(rule: RecordingRule | Alert) -> RecordingRule | Alert:
        expr = _DURATION.sub(lambda found: _divided(found[0], factor), rule.expr)
        if isinstance(rule, Alert):
            return replace(rule, expr=expr, wait=_divided(rule.wait, factor))
        return replace(rule, expr=expr)

    return [replace(group, rules=[shorter(rule) for rule in group.rules]) for group in groups]


def seconds(duration: str) -> float:
    """Seconds of a Prometheus duration with one unit, such as ``5m``."""
    number, unit = re.fullmatch(r"(\d+)(ms|[smhdwy])", duration).groups()  # type: ignore[union-attr]
    return int(number) * _SECONDS[unit]


def _divided(duration: str, factor: float) -> str:
    # Below two seconds a window would hold less than two scrapes of one a second, and have no rate.
    return f"{max(3000, round(seconds(duration) * 1000 / factor))}ms" if seconds(duration) else duration


@dataclass(frozen=True)
class BurnWindow:
    """One pair of windows."""

    severity: Severity
    budget: float
    """Share of the error budget that is spent when the alert fires."""
    long: str
    short: str
    factor: float
    """Burn rate: how many times faster than allowed."""
    wait: str


BURN_WINDOWS = (
    BurnWindow("critical", 0.02, "1h", "5m", 14.4, "2m"),
    BurnWindow("critical", 0.05, "6h", "30m", 6, "15m"),
    BurnWindow("warning", 0.10, "1d", "2h", 3, "1h"),
    BurnWindow("warning", 0.10, "3d", "6h", 1, "3h"),
)
RECORDED = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
"""Every window above, ascending."""
