"""Is the service healthy? The SLOs first, then traffic, errors, latency and saturation."""

from __future__ import annotations

from lading.monitoring.dashboards import panels as by
from lading.monitoring.dashboards.panels import Board, Panel, PanelRow, Query, quantile

_BURN = ("LadingAvailabilityBudgetBurn", "LadingLatencyBudgetBurn")

SLO = PanelRow(
    "Promises",
    (
        Panel(
            "Error budget left",
            "Share of the window's error budget that is not yet spent, by promise. Below 0 the promise is broken.",
            "percentunit",
            (Query(f"slo:period_error_budget_remaining:ratio{{{by.MODEL}}}", "{{model}} {{sloth_slo}}"),),
            kind="number",
            thresholds=((0, "orange"), (0.25, "green")),
            runbooks=_BURN,
        ),
        Panel(
            "Burn rate",
            "How many times faster than allowed the budget burns over 5 minutes: 1 spends it exactly by the window's "
            "end, 14.4 pages someone.",
            "none",
            (Query(f"slo:current_burn_rate:ratio{{{by.MODEL}}}", "{{model}} {{sloth_slo}}"),),
            thresholds=((1, "orange"), (14.4, "red")),
            runbooks=_BURN,
        ),
        Panel(
            "Bad requests, by window",
            "Share of requests that broke the promise, over the windows that alerts look at.",
            "percentunit",
            (
                Query(f"slo:sli_error:ratio_rate5m{{{by.MODEL}}}", "{{model}} {{sloth_slo}} 5m"),
                Query(f"slo:sli_error:ratio_rate1h{{{by.MODEL}}}", "{{model}} {{sloth_slo}} 1h"),
                Query(f"slo:sli_error:ratio_rate6h{{{by.MODEL}}}", "{{model}} {{sloth_slo}} 6h"),
            ),
            thresholds=((0.01, "red"),),
            runbooks=_BURN,
        ),
    ),
)
TRAFFIC = PanelRow(
    "Traffic and errors",
    (
        Panel(
            "Requests per second",
            "Answered requests by protocol: http is /classify and /predict, v2 and grpc the Open Inference Protocol.",
            "reqps",
            (
                Query(
                    f"sum by (model, protocol) (rate(lading_requests_total{{{by.VARIANT}}}{by.RATE}))",
                    "{{model}} {{protocol}}",
                ),
            ),
            kind="stack",
        ),
        Panel(
            "Answers by status",
            "By HTTP status; gRPC's are shown as the one that means the same. 429 is a refusal for overload, 499 a "
            "client that went away.",
            "reqps",
            (Query(f"sum by (code) (rate(lading_requests_total{{{by.MODEL}}}{by.RATE}))", "{{code}}"),),
            kind="stack",
            runbooks=("LadingServerErrors", "LadingClientErrors", "LadingUnauthorized"),
        ),
        Panel(
            "Share of errors",
            "Of the server (5xx), of clients (4xx) and refusals for overload (429), of all requests.",
            "percentunit",
            (
                Query(
                    _share := f'sum(rate(lading_requests_total{{{by.MODEL},code=~"5.."}}{by.RATE})) / '
                    f"sum(rate(lading_requests_total{{{by.MODEL}}}{by.RATE}))",
                    "server",
                ),
                Query(_share.replace('"5.."', '"4..",code!="429"'), "client"),
                Query(_share.replace('"5.."', '"429"'), "refused"),
            ),
            thresholds=((0.01, "red"),),
            runbooks=("LadingServerErrors", "LadingShedding"),
        ),
    ),
)
LATENCY = PanelRow(
    "Latency",
    (
        Panel(
            "Latency",
            "From a request's headers to the last byte of its answer, over all servers; read from buckets.",
            "s",
            tuple(
                Query(quantile(share, "lading_request_duration_seconds", by.VARIANT), f"p{share * 100:g}")
                for share in (0.5, 0.9, 0.99)
            ),
            runbooks=("LadingLatencyBudgetBurn",),
        ),
        Panel(
            "Latency, every request",
            "How many requests took how long: two bands are two kinds of request, a rising band is a queue.",
            "s",
            (
                Query(
                    f"sum by (le) (increase(lading_request_duration_seconds_bucket{{{by.VARIANT}}}{by.RATE}))", "{{le}}"
                ),
            ),
            kind="heatmap",
            runbooks=("LadingLatencyBudgetBurn",),
        ),
        Panel(
            "p99 by model",
            "The slowest request of a hundred, by model and variant.",
            "s",
            (
                Query(
                    quantile(0.99, "lading_request_duration_seconds", by.VARIANT, "model, variant"),
                    "{{model}} {{variant}}",
                ),
            ),
            runbooks=("LadingLatencyBudgetBurn",),
        ),
    ),
)
SATURATION = PanelRow(
    "Saturation",
    (
        Panel(
            "Requests in flight",
            "Begun and not answered, by server.",
            "none",
            (Query(f"sum by (instance) (lading_requests_in_flight{{{by.NAMESPACE}}})", "{{instance}}"),),
            runbooks=("LadingQueueSaturated",),
        ),
        Panel(
            "Lanes in use",
            "Share of time that lanes decode or run: at 100 % every further request waits.",
            "percentunit",
            (
                Query(
                    f"(sum by (instance) (rate(lading_decode_duration_seconds_sum{{{by.NAMESPACE}}}{by.RATE})) + "
                    f"sum by (instance) (rate(lading_inference_duration_seconds_sum{{{by.NAMESPACE}}}{by.RATE}))) / "
                    f"on (instance) max by (instance) (lading_lanes{{{by.NAMESPACE}}})",
                    "{{instance}}",
                ),
            ),
            thresholds=((0.8, "orange"), (0.95, "red")),
            runbooks=("LadingQueueSaturated", "LadingAtMaxReplicas"),
        ),
        Panel(
            "Refused for overload",
            "By reason: queue and bytes are limits, deadline could not be met, expired passed while waiting.",
            "reqps",
            (Query(f"sum by (reason) (rate(lading_shed_total{{{by.NAMESPACE}}}{by.RATE}))", "{{reason}}"),),
            kind="stack",
            thresholds=((0.1, "red"),),
            runbooks=("LadingShedding",),
        ),
    ),
)
SERVED = PanelRow(
    "What is served",
    (
        Panel(
            "Ready servers",
            "Servers that answer for each model.",
            "none",
            (Query(f"sum by (model, variant) (lading_ready{{{by.VARIANT}}})", "{{model}} {{variant}}"),),
            kind="number",
            thresholds=((0, "red"), (1, "green")),
            runbooks=("LadingNoReadyPod", "LadingNotReady"),
        ),
        Panel(
            "Versions",
            "Every artifact that is served, by digest, and how many servers have it.",
            "none",
            (
                Query(
                    f"count by (model, version, variant, precision, digest) (lading_model_info{{{by.VARIANT}}})",
                    "{{model}} {{version}} {{variant}}",
                ),
            ),
            kind="table",
            runbooks=("LadingMixedVersions",),
        ),
        Panel(
            "Servers that Prometheus reaches",
            "1 for each that answered the last scrape; a line that ends is a server that is gone.",
            "none",
            (
                Query(
                    f"up{{{by.NAMESPACE}}} and on (job, instance) "
                    f"max_over_time(lading_usable_cpus{{{by.NAMESPACE}}}[1h])",
                    "{{instance}}",
                ),
            ),
            runbooks=("LadingScrapeLost",),
        ),
    ),
)
OVERVIEW = Board(
    "overview",
    "Lading / Overview",
    "Promises, traffic, errors, latency, saturation and versions of every served model.",
    by.OF_MODELS,
    (SLO, TRAFFIC, LATENCY, SATURATION, SERVED),
)
