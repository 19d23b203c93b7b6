"""The rules of an SLO with names in place of its numbers. The chart fills in those of `monitoring.slos`.

A Helm template cannot call Python. So the rules are generated once, for numbers that occur nowhere else, and each one
is replaced by the name of what it stands for. A test compares what the chart makes with what `lading monitor` writes.
"""

from __future__ import annotations

from typing import Any

from lading.monitoring.rules import Group
from lading.monitoring.slo import Slo
from lading.monitoring.slo_rules import slo_groups
from lading.serve.telemetry.request_series import SECONDS

_UNUSUAL = {
    "model": "SLO-MODEL",
    "window_days": 77,
    "min_requests": 7717,
    "availability": {"objective": 0.91357},
    "latency": {"objective": 0.92468, "threshold_ms": 250.0},
}
_DAYS, _REQUESTS = "SLO-DAYS", "SLO-REQUESTS"
_THRESHOLD, _BUCKET = "SLO-THRESHOLD-MS", "SLO-BUCKET"


def slo_template() -> dict[str, Any]:
    """The groups of an SLO's rules, by objective, and the bucket of each threshold in milliseconds.

    Availability counts refusals as bad. Where they are left out, the chart removes the code ``|429`` from it.
    """
    slo = Slo.model_validate(_UNUSUAL)
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, objective in (("availability", slo.availability.objective), ("latency", slo.latency.objective)):
        of_name = [group for group in slo_groups(slo) if f"-{name}-" in group.name]
        groups[name] = [_named(group, objective, slo) for group in of_name]
    buckets = {f"{bound * 1e3:g}": repr(bound) for bound in SECONDS}
    return {"buckets": buckets, "groups": groups}


def _named(group: Group, objective: float, slo: Slo) -> dict[str, Any]:
    budget = 1 - objective
    replaced = {
        f"vector({objective})": "vector(SLO-OBJECTIVE)",
        f"{budget:.6g}": "SLO-BUDGET",
        f"{round(100 * budget, 9):.3g} %": "SLO-BUDGET-PERCENT %",
        f"{100 * objective:g}": "SLO-PERCENT",
        f">= {slo.min_requests}": f">= {_REQUESTS}",
        f"{slo.window_days}d": f"{_DAYS}d",
        f"vector({slo.window_days})": f"vector({_DAYS})",
        f"of {slo.window_days} days": f"of {_DAYS} days",
        f'le="{slo.latency.bucket}"': f'le="{_BUCKET}"',
        f"than {slo.latency.threshold_ms:g} ms": f"than {_THRESHOLD} ms",
    }
    return _with_names(group.to_dict(), replaced)  # type: ignore[no-any-return]


def _with_names(part: Any, replaced: dict[str, str]) -> Any:
    if isinstance(part, dict):
        return {key: _with_names(value, replaced) for key, value in part.items()}
    if isinstance(part, list):
        return [_with_names(value, replaced) for value in part]
    for number, name in replaced.items():
        part = part.replace(number, name) if isinstance(part, str) else part
    return part
