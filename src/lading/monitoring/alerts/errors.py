"""Answers that are errors, by kind: whose fault they are decides who has to act."""

from __future__ import annotations

from lading.monitoring.rule import EVERYWHERE, Alert

_ALL = f"sum by (namespace, model) (rate(lading_requests_total{{{EVERYWHERE}}}[5m]))"


def _share(numerator: str) -> str:
    return f"{numerator}\n  / on (namespace, model) group_left ()\n{_ALL}"


ALERTS = (
    Alert(
        name="LadingServerErrors",
        expr=_share(f'sum by (namespace, model, code) (rate(lading_requests_total{{{EVERYWHERE},code=~"5.."}}[5m]))')
        + "\n> 0.01",
        severity="warning",
        summary="{{ $value | humanizePercentage }} of the requests to {{ $labels.model }} are answered with "
        "{{ $labels.code }} (more than 1 %).",
    ),
    Alert(
        name="LadingClientErrors",
        expr=_share(
            f'sum by (namespace, model, code) (rate(lading_requests_total{{{EVERYWHERE},code=~"4..",code!="429"}}[5m]))'
        )
        + "\n> 0.25",
        severity="warning",
        wait="15m",
        summary="{{ $value | humanizePercentage }} of the requests to {{ $labels.model }} are refused with "
        "{{ $labels.code }} as the client's mistake (more than 25 %): has a client, or the model's inputs, changed?",
    ),
    Alert(
        name="LadingUnauthorized",
        expr='sum by (namespace, job, code) (rate(lading_requests_total{NS,code=~"401|403"}[5m])) > 0.1'.replace(
            "NS", EVERYWHERE
        ),
        severity="warning",
        wait="10m",
        summary="{{ $value | humanize }} requests a second to {{ $labels.job }} carry no valid key (answered with "
        "{{ $labels.code }}; more than 0.1): a client missed a rotation, or somebody is trying keys.",
    ),
    Alert(
        name="LadingSchemaViolations",
        expr=_share(f"sum by (namespace, model, kind) (rate(lading_schema_violations_total{{{EVERYWHERE}}}[5m]))")
        + "\n> 0.05",
        severity="warning",
        wait="10m",
        summary="{{ $value | humanizePercentage }} of the requests to {{ $labels.model }} have inputs that it does not "
        "take: their {{ $labels.kind }} is wrong (more than 5 %).",
    ),
)
