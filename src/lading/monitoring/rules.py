"""Recording rules and alerts as data, and the windows over which a budget may burn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Severity = Literal["critical", "warning", "info"]
"""critical wakes somebody; warning is a ticket for the day; info is shown and not sent."""

RUNBOOKS = "https://github.com/lading/lading/blob/main/monitoring/runbooks"

EVERYWHERE = 'namespace=~".*"'
"""Matches series with and without a namespace. The chart puts its release's namespace here."""
WORKLOAD = ".*lading.*"
"""Names of Deployments, pods and autoscalers that are watched. The chart puts its release's full name here."""

_DURATION = re.compile(r"(?<=[\[:])(\d+)(ms|[smhdwy])(?=[\]:])")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


@dataclass(frozen=True)
class Recording:
    """A series that is computed once and read often."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As a rules file has it."""
        rule: dict[str, Any] = {"record": self.record, "expr": self.expr}
        return rule | ({"labels": dict(self.labels)} if self.labels else {})


@dataclass(frozen=True)
class Alert:
    """What is wrong, since when, how bad it is, and what to read."""

    name: str
    expr: str
    severity: Severity
    summary: str
    """One sentence with the numbers; a template of Prometheus."""
    wait: str = "5m"
    """For how long it must hold."""
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As a rules file has it."""
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
    rules: Sequence[Recording | Alert]

    def to_dict(self) -> dict[str, Any]:
        """As a rules file has it."""
        return {"name": self.name, "rules": [rule.to_dict() for rule in self.rules]}


def alerts_in(groups: Iterable[Group]) -> list[Alert]:
    """Every alert, in order."""
    return [rule for group in groups for rule in group.rules if isinstance(rule, Alert)]


def shortened(groups: Iterable[Group], factor: float) -> list[Group]:
    """The same rules with every window and waiting time divided by ``factor``, to see in seconds what takes hours."""

    def shorter(rule: Recording | Alert) -> Recording | Alert:
        expr = _DURATION.sub(lambda found: _divided(found[0], factor), rule.expr)
        if isinstance(rule, Alert):
            return replace(rule, expr=expr, wait=_divided(rule.wait, factor))
        return replace(rule, expr=expr)

    return [replace(group, rules=[shorter(rule) for rule in group.rules]) for group in groups]


def seconds(duration: str) -> float:
    """Of a duration as Prometheus writes it, of one unit."""
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
    """Share of the budget that is spent when the alert fires."""
    long: str
    short: str
    factor: float
    """How many times faster than allowed the budget burns."""
    wait: str


BURN_WINDOWS = (
    BurnWindow("critical", 0.02, "1h", "5m", 14.4, "2m"),
    BurnWindow("critical", 0.05, "6h", "30m", 6, "15m"),
    BurnWindow("warning", 0.10, "1d", "2h", 3, "1h"),
    BurnWindow("warning", 0.10, "3d", "6h", 1, "3h"),
)
RECORDED = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
"""Every window above, ascending."""
