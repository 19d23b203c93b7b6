"""The rules of one SLO: the share of bad requests over each window, and alerts on the burn rate of the error budget.

Names and labels of the recorded series are those of Sloth, so that its dashboards show these SLOs too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lading.monitoring.rules import (
    BURN_WINDOWS,
    EVERYWHERE,
    RECORDED,
    RELEASE,
    SERVERS,
    Alert,
    BurnWindow,
    Group,
    RecordingRule,
)
from lading.monitoring.slo import EVERY_OTHER, Slo

BY = "namespace, model"


@dataclass(frozen=True)
class Indicator:
    """One objective of an SLO, as PromQL."""

    slo: Slo
    name: str
    objective: float
    error_ratio: str
    """Share of bad requests; ``WINDOW`` stands for the window."""
    total: str
    """Rate of the requests that count."""
    alert: str
    summary: str
    """What goes wrong; the rule adds the numbers."""

    @property
    def labels(self) -> dict[str, str]:
        """Labels of its recorded series."""
        return {"sloth_id": f"{self.slo.id}-{self.name}", "sloth_service": self.slo.id, "sloth_slo": self.name}

    @property
    def selector(self) -> str:
        """Selector of its recorded series."""
        return f'{{{EVERYWHERE},{RELEASE},sloth_id="{self.slo.id}-{self.name}"}}'


def indicators(slo: Slo, others: Sequence[str] = ()) -> tuple[Indicator, Indicator]:
    """Availability and latency of an SLO.

    Availability: errors of the client (4xx, a closed connection) count neither as good nor as bad. Errors of the server
    (5xx) are bad, and so are refusals for overload (429), unless the SLO leaves them out.

    Latency: slow requests count whatever their status, except those whose body the client did not send in time (408).
    Refusals are quick, so they are not part of the total.

    Args:
        slo: the SLO.
        others: the models with their own SLO, if this one is for all others.
    """
    which = f'model!~"{"|".join([*others, "unknown"])}"' if slo.model == EVERY_OTHER else f'model="{slo.model}"'
    shed_is_bad = slo.availability.shed == "bad"
    bad = _rate("lading_requests_total", which, 'code=~"5..|429"' if shed_is_bad else 'code=~"5.."')
    total = _rate("lading_requests_total", which, 'code=~"2..|5..|429"' if shed_is_bad else 'code=~"2..|5.."')
    refused = _rate("lading_requests_total", which, 'code="429"')
    measured = _rate("lading_request_duration_seconds_count", which)
    quick = _rate("lading_request_duration_seconds_bucket", which, f'le="{slo.latency.bucket}"')
    late = _rate("lading_requests_total", which, 'code="408"')
    answered = f"(({measured} - ({refused} or 0 * {measured}) - ({late} or 0 * {measured})) > 0)"
    return (
        Indicator(
            slo,
            "availability",
            slo.availability.objective,
            f"({bad} or 0 * {total}) / ({total} > 0)",
            total,
            "LadingAvailabilityBudgetBurn",
            "fail",
        ),
        Indicator(
            slo,
            "latency",
            slo.latency.objective,
            f"clamp(({measured} - {quick} - ({late} or 0 * {measured})) / {answered}, 0, 1)",
            measured,
            "LadingLatencyBudgetBurn",
            f"take longer than {slo.latency.threshold_ms:g} ms",
        ),
    )


def slo_groups(slo: Slo, others: Sequence[str] = ()) -> list[Group]:
    """Recording rules, facts and alerts of an SLO, in two groups per indicator."""
    groups = []
    for one in indicators(slo, others):
        name = f"lading-slo-{slo.id}-{one.name}"
        groups += [
            Group(f"{name}-ratios", [*_ratios(one), *_facts(one)]),
            Group(f"{name}-alerts", [_alert(one, window) for window in BURN_WINDOWS]),
        ]
    return groups


def _rate(metric: str, *matchers: str) -> str:
    return f"sum by ({BY}) (rate({metric}{{{','.join([SERVERS, *matchers])}}}[WINDOW]))"


def _ratios(one: Indicator) -> list[RecordingRule]:
    days = f"{one.slo.window_days}d"
    short = f"slo:sli_error:ratio_rate5m{one.selector}"
    return [
        *(
            RecordingRule(
                f"slo:sli_error:ratio_rate{window}",
                one.error_ratio.replace("WINDOW", window),
                {**one.labels, "sloth_window": window},
            )
            for window in RECORDED
        ),
        RecordingRule(
            f"slo:sli_error:ratio_rate{days}",
            f"sum_over_time({short}[{days}]) / count_over_time({short}[{days}])",
            {**one.labels, "sloth_window": days},
        ),
    ]


def _facts(one: Indicator) -> list[RecordingRule]:
    labels, selector = one.labels, one.selector
    error_budget = f"{1 - one.objective:.6g}"
    month = f"slo:sli_error:ratio_rate{one.slo.window_days}d{selector}"
    return [
        RecordingRule("slo:objective:ratio", f"vector({one.objective})", labels),
        RecordingRule("slo:error_budget:ratio", f"vector({error_budget})", labels),
        RecordingRule("slo:time_period:days", f"vector({one.slo.window_days})", labels),
        RecordingRule("slo:current_burn_rate:ratio", f"slo:sli_error:ratio_rate5m{selector} / {error_budget}", labels),
        RecordingRule("slo:period_burn_rate:ratio", f"{month} / {error_budget}", labels),
        RecordingRule("slo:period_error_budget_remaining:ratio", f"1 - {month} / {error_budget}", labels),
        RecordingRule(
            "sloth_slo_info",
            "vector(1)",
            {**labels, "sloth_mode": "lading", "sloth_objective": f"{100 * one.objective:g}"},
        ),
    ]


def _alert(one: Indicator, window: BurnWindow) -> Alert:
    budget = 1 - one.objective
    limit = f"({window.factor:g} * {budget:.6g})"
    long, short = (f"slo:sli_error:ratio_rate{length}{one.selector}" for length in (window.long, window.short))
    enough = one.total.replace("rate(", "increase(").replace("WINDOW", window.long)
    return Alert(
        name=one.alert,
        # The two sides differ in the label sloth_window.
        expr=(
            f"{long} > {limit}\nand ignoring (sloth_window)\n{short} > {limit}\n"
            f"and on ({BY})\n{enough} >= {one.slo.min_requests}"
        ),
        severity=window.severity,
        wait=window.wait,
        labels={**one.labels, "long_window": window.long, "short_window": window.short},
        summary=(
            f"{{{{ $value | humanizePercentage }}}} of the requests to {{{{ $labels.model }}}} {one.summary} "
            f"(over {window.long}; {round(100 * budget, 9):.3g} % may): the error budget of {one.slo.window_days} days "
            f"burns more than {window.factor:g} times too fast."
        ),
    )
