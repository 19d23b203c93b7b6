"""The rules of one SLO: what share of requests was bad over each window, and who is told when the budget burns.

The recorded names and labels are those of Sloth, so that dashboards made for it show these SLOs too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lading.monitoring.rules import BURN_WINDOWS, EVERYWHERE, RECORDED, Alert, BurnWindow, Group, Recording
from lading.monitoring.slo import EVERY_OTHER, Slo

BY = "namespace, model"


@dataclass(frozen=True)
class Indicator:
    """One promise of an SLO, as PromQL."""

    slo: Slo
    name: str
    objective: float
    error_ratio: str
    """Share of bad requests; ``WINDOW`` stands for the window."""
    total: str
    """Rate of the requests that count."""
    alert: str
    summary: str
    """What is wrong; the numbers are added."""

    @property
    def labels(self) -> dict[str, str]:
        """What every series of it carries."""
        return {"sloth_id": f"{self.slo.id}-{self.name}", "sloth_service": self.slo.id, "sloth_slo": self.name}

    @property
    def selector(self) -> str:
        """Picks its recorded series."""
        return f'{{{EVERYWHERE},sloth_id="{self.slo.id}-{self.name}"}}'


def indicators(slo: Slo, others: Sequence[str] = ()) -> tuple[Indicator, Indicator]:
    """Availability and latency of an SLO.

    Availability: what the client did wrong (4xx, a client that went away) counts neither as good nor as bad. Errors of
    the server (5xx) are bad, and so is a refusal for overload (429) unless the SLO leaves it out.

    Latency: a request is slow whatever came of it; a refusal is quick, so it is taken out of the total.

    Args:
        slo: the SLO.
        others: the models that have an SLO of their own, when this one is for all others.
    """
    which = f'model!~"{"|".join([*others, "unknown"])}"' if slo.model == EVERY_OTHER else f'model="{slo.model}"'
    shed_is_bad = slo.availability.shed == "bad"
    bad = _rate("lading_requests_total", which, 'code=~"5..|429"' if shed_is_bad else 'code=~"5.."')
    total = _rate("lading_requests_total", which, 'code=~"2..|5..|429"' if shed_is_bad else 'code=~"2..|5.."')
    refused = _rate("lading_requests_total", which, 'code="429"')
    measured = _rate("lading_request_duration_seconds_count", which)
    quick = _rate("lading_request_duration_seconds_bucket", which, f'le="{slo.latency.bucket}"')
    answered = f"(({measured} - ({refused} or 0 * {measured})) > 0)"
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
            f"clamp(({measured} - {quick}) / {answered}, 0, 1)",
            measured,
            "LadingLatencyBudgetBurn",
            f"take longer than {slo.latency.threshold_ms:g} ms",
        ),
    )


def slo_groups(slo: Slo, others: Sequence[str] = ()) -> list[Group]:
    """Recording rules, facts and alerts of an SLO, each indicator in groups of its own."""
    groups = []
    for one in indicators(slo, others):
        name = f"lading-slo-{slo.id}-{one.name}"
        groups += [
            Group(f"{name}-ratios", [*_ratios(one), *_facts(one)]),
            Group(f"{name}-alerts", [_alert(one, window) for window in BURN_WINDOWS]),
        ]
    return groups


def _rate(metric: str, *matchers: str) -> str:
    return f"sum by ({BY}) (rate({metric}{{{','.join([EVERYWHERE, *matchers])}}}[WINDOW]))"


def _ratios(one: Indicator) -> list[Recording]:
    days = f"{one.slo.window_days}d"
    short = f"slo:sli_error:ratio_rate5m{one.selector}"
    return [
        *(
            Recording(
                f"slo:sli_error:ratio_rate{window}",
                one.error_ratio.replace("WINDOW", window),
                {**one.labels, "sloth_window": window},
            )
            for window in RECORDED
        ),
        Recording(
            f"slo:sli_error:ratio_rate{days}",
            f"sum_over_time({short}[{days}]) / count_over_time({short}[{days}])",
            {**one.labels, "sloth_window": days},
        ),
    ]


def _facts(one: Indicator) -> list[Recording]:
    labels, selector = one.labels, one.selector
    error_budget = f"{1 - one.objective:.6g}"
    month = f"slo:sli_error:ratio_rate{one.slo.window_days}d{selector}"
    return [
        Recording("slo:objective:ratio", f"vector({one.objective})", labels),
        Recording("slo:error_budget:ratio", f"vector({error_budget})", labels),
        Recording("slo:time_period:days", f"vector({one.slo.window_days})", labels),
        Recording("slo:current_burn_rate:ratio", f"slo:sli_error:ratio_rate5m{selector} / {error_budget}", labels),
        Recording("slo:period_burn_rate:ratio", f"{month} / {error_budget}", labels),
        Recording("slo:period_error_budget_remaining:ratio", f"1 - {month} / {error_budget}", labels),
        Recording(
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
        # The recorded series carry their window as a label, which the two sides do not share.
        expr=(
            f"{long} > {limit}\nand ignoring (sloth_window)\n{short} > {limit}\n"
            f"and on ({BY})\n{enough} >= {one.slo.min_requests}"
        ),
        severity=window.severity,
        wait=window.wait,
        labels={**one.labels, "long_window": window.long, "short_window": window.short},
        summary=(
            f"{{{{ $value | humanizePercentage }}}} of the requests to {{{{ $labels.model }}}} {one.summary} "
            f"(over {window.long}; {100 * budget:.3g} % may): the error budget of {one.slo.window_days} days burns "
            f"more than {window.factor:g} times too fast."
        ),
    )
