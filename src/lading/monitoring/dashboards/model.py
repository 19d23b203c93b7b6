"""Inside one model: where the time of a request goes, what batching gains, and how that compares with verify."""

from __future__ import annotations

from lading.monitoring.dashboards import panels as by
from lading.monitoring.dashboards.panels import Board, Panel, PanelRow, Query, mean, quantile

_BY = "model, variant"
_LEGEND = "{{model}} {{variant}}"

TIME = PanelRow(
    "Where the time goes",
    (
        Panel(
            "Mean time by stage",
            "Waiting for a lane, decoding the body, running the model; means over all servers.",
            "s",
            tuple(
                Query(mean(f"lading_{stage}_duration_seconds", by.VARIANT, _BY), f"{stage} {_LEGEND}")
                for stage in ("queue", "decode", "inference")
            ),
            runbooks=("LadingLatencyBudgetBurn",),
        ),
        Panel(
            "p99 by stage",
            "The slowest of a hundred, by stage.",
            "s",
            tuple(
                Query(quantile(0.99, f"lading_{stage}_duration_seconds", by.VARIANT), stage)
                for stage in ("queue", "decode", "inference")
            ),
            runbooks=("LadingLatencyBudgetBurn",),
        ),
        Panel(
            "Inference, every run",
            "How many runs took how long.",
            "s",
            (
                Query(
                    f"sum by (le) (increase(lading_inference_duration_seconds_bucket{{{by.VARIANT}}}{by.RATE}))",
                    "{{le}}",
                ),
            ),
            kind="heatmap",
        ),
    ),
)
BATCH = PanelRow(
    "Batches",
    (
        Panel(
            "Examples per run",
            "Mean batch: it grows with load by itself where verify measured that a larger batch is cheaper.",
            "none",
            (Query(mean("lading_batch_size", by.VARIANT, _BY), _LEGEND),),
        ),
        Panel(
            "Batches, every run",
            "How many runs had how many examples.",
            "none",
            (Query(f"sum by (le) (increase(lading_batch_size_bucket{{{by.VARIANT}}}{by.RATE}))", "{{le}}"),),
            kind="heatmap",
        ),
        Panel(
            "Runs per second",
            "Runs of the model; with batches fewer than requests.",
            "ops",
            (
                Query(
                    f"sum by ({_BY}) (rate(lading_inference_duration_seconds_count{{{by.VARIANT}}}{by.RATE}))", _LEGEND
                ),
            ),
        ),
    ),
)
MEASURED = PanelRow(
    "Seen and measured",
    (
        Panel(
            "T(b) as measured",
            "Seconds of a run of b examples on one thread, as verify measured it on its own machine.",
            "s",
            (
                Query(
                    f"max by ({_BY}, batch) (lading_measured_inference_seconds{{{by.VARIANT}}})",
                    _LEGEND + " b={{batch}}",
                ),
            ),
            kind="table",
        ),
        Panel(
            "Seconds an example, seen and measured",
            "Mean seconds of inference per example, next to what verify measured for one. Far above it: a slower CPU, "
            "neighbours, or throttling.",
            "s",
            (
                Query(
                    f"sum by ({_BY}) (rate(lading_inference_duration_seconds_sum{{{by.VARIANT}}}{by.RATE})) / "
                    f"(sum by ({_BY}) (rate(lading_batch_size_sum{{{by.VARIANT}}}{by.RATE})) > 0)",
                    f"seen {_LEGEND}",
                ),
                Query(
                    f'max by ({_BY}) (lading_measured_inference_seconds{{{by.VARIANT},batch="1"}})',
                    f"measured {_LEGEND}",
                ),
            ),
            runbooks=("LadingCPUThrottled",),
        ),
        Panel(
            "Slower than measured",
            "Mean seconds of inference an example over what verify measured for one example; 1 is as measured.",
            "none",
            (
                Query(
                    f"sum by ({_BY}) (rate(lading_inference_duration_seconds_sum{{{by.VARIANT}}}{by.RATE})) / "
                    f"(sum by ({_BY}) (rate(lading_batch_size_sum{{{by.VARIANT}}}{by.RATE})) > 0) / on ({_BY}) "
                    f'max by ({_BY}) (lading_measured_inference_seconds{{{by.VARIANT},batch="1"}})',
                    _LEGEND,
                ),
            ),
            thresholds=((2, "orange"), (4, "red")),
            runbooks=("LadingCPUThrottled", "LadingLatencyBudgetBurn"),
        ),
    ),
)
VARIANTS_ROW = PanelRow(
    "Variants next to each other",
    (
        Panel(
            "Score as verify measured it",
            "By split of the data; what a variant loses against fp32 was within its budget, or it would not be here.",
            "percentunit",
            (Query(f"max by ({_BY}, split) (lading_model_score{{{by.VARIANT}}})", _LEGEND + " {{split}}"),),
            kind="table",
        ),
        Panel(
            "Median inference by variant",
            "Of the variants that are loaded and asked for (`?variant=`).",
            "s",
            (Query(quantile(0.5, "lading_inference_duration_seconds", by.VARIANT, _BY), _LEGEND),),
        ),
        Panel(
            "CPU a request",
            "Seconds of CPU of the whole process over the requests it answered: what a request costs.",
            "s",
            (
                Query(
                    'sum by (instance) (rate(process_cpu_seconds_total{namespace=~"$namespace"}[$__rate_interval])) / '
                    'on (instance) (sum by (instance) (rate(lading_requests_total{namespace=~"$namespace"}'
                    "[$__rate_interval])) > 0)",
                    "{{instance}}",
                ),
            ),
        ),
    ),
)
BYTES = PanelRow(
    "Bodies",
    (
        Panel(
            "Bytes received",
            "Of request bodies, by protocol.",
            "Bps",
            (
                Query(
                    f"sum by (model, protocol) (rate(lading_request_bytes_total{{{by.VARIANT}}}{by.RATE}))",
                    "{{model}} {{protocol}}",
                ),
            ),
            width=12,
        ),
        Panel(
            "Bytes a request",
            "Mean body: photos straight from a phone cost more to decode than to classify.",
            "bytes",
            (
                Query(
                    f"sum by (model, protocol) (rate(lading_request_bytes_total{{{by.VARIANT}}}{by.RATE})) / "
                    "(sum by (model, protocol) "
                    f"(rate(lading_request_duration_seconds_count{{{by.VARIANT}}}{by.RATE})) > 0)",
                    "{{model}} {{protocol}}",
                ),
            ),
            width=12,
        ),
    ),
)
MODEL_BOARD = Board(
    "model",
    "Lading / Model",
    "Stages, batches, the measured cost table next to live figures, and variants next to each other.",
    by.OF_MODELS,
    (TIME, BATCH, MEASURED, VARIANTS_ROW, BYTES),
)
