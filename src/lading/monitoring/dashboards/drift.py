"""Do requests still look like the training data, and are the answers still right?"""

from __future__ import annotations

from lading.monitoring.dashboards import panels as by
from lading.monitoring.dashboards.panels import Board, Panel, PanelRow, Query

_BY = "model, feature, test"
_LEGEND = "{{model}} {{feature}} {{test}}"
_RELATIVE = (
    f"max by ({_BY}) (lading_drift_score{{{by.MODEL}}}) / "
    f"on ({_BY}) max by ({_BY}) (lading_drift_threshold{{{by.MODEL}}})"
)

DISTANCE = PanelRow(
    "Inputs and predictions",
    (
        Panel(
            "Features that drifted",
            "Tests whose score is above the threshold that was calibrated on the training data.",
            "none",
            (
                Query(
                    f"sum by (model) (max by ({_BY}) (lading_drift_score{{{by.MODEL}}}) > bool on ({_BY}) "
                    f"max by ({_BY}) (lading_drift_threshold{{{by.MODEL}}}))",
                    "{{model}}",
                ),
            ),
            kind="number",
            thresholds=((1, "red"),),
            runbooks=("LadingDrift",),
        ),
        Panel(
            "Score over threshold",
            "1 is the threshold; above it for a quarter of an hour the alert fires. By feature and test.",
            "none",
            (Query(_RELATIVE, _LEGEND),),
            thresholds=((1, "red"),),
            runbooks=("LadingDrift",),
            width=16,
        ),
        Panel(
            "Scores",
            "Distance of the newest requests from the training data, in each test's own unit.",
            "none",
            (Query(f"max by ({_BY}) (lading_drift_score{{{by.MODEL}}})", _LEGEND),),
            runbooks=("LadingDrift",),
            width=12,
        ),
        Panel(
            "Furthest from the training data",
            "The ten largest scores over their thresholds, now.",
            "none",
            (Query(f"topk(10, {_RELATIVE})", _LEGEND),),
            kind="table",
            runbooks=("LadingDrift",),
            width=12,
        ),
    ),
)
WINDOW = PanelRow(
    "What the scores rest on",
    (
        Panel(
            "Requests in the window",
            "A small window has large scores by chance; thresholds are for windows of full size.",
            "none",
            (Query(f"max by (model) (lading_drift_window_requests{{{by.MODEL}}})", "{{model}}"),),
        ),
        Panel(
            "Since the last scores",
            "Seconds since drift was computed last; it grows without requests.",
            "s",
            (Query(f"time() - max by (model) (lading_drift_evaluated_timestamp_seconds{{{by.MODEL}}})", "{{model}}"),),
            thresholds=((3600, "orange"),),
        ),
        Panel(
            "Least probable by chance",
            "The smallest p-value of each model's tests: how likely such a distance is though nothing has changed.",
            "none",
            (Query(f"min by (model) (lading_drift_p_value{{{by.MODEL}}})", "{{model}}"),),
        ),
    ),
)
TRUTH = PanelRow(
    "Against the truth",
    (
        Panel(
            "Live accuracy",
            "Share of right answers among the newest whose truth was sent to /feedback, by output: of all pods where "
            "the drift service runs, otherwise of the best pod.",
            "percentunit",
            (
                Query(
                    f'max by (model, variant, output) (lading_live_accuracy{{{by.VARIANT},scope="service"}}) or '
                    f"max by (model, variant, output) (lading_live_accuracy{{{by.VARIANT}}})",
                    "{{model}} {{variant}} {{output}}",
                ),
            ),
            runbooks=("LadingDrift",),
        ),
        Panel(
            "Truths a minute",
            "Feedback by what it said of the answer.",
            "none",
            (
                Query(
                    f"60 * sum by (model, result) (rate(lading_feedback_total{{{by.VARIANT}}}{by.RATE}))",
                    "{{model}} {{result}}",
                ),
            ),
        ),
        Panel(
            "Delay of the truth",
            "Median time from an answer to its truth: live accuracy is that old.",
            "s",
            (
                Query(
                    "histogram_quantile(0.5, sum by (le, model) (rate(lading_feedback_delay_seconds_bucket"
                    f"{{{by.VARIANT}}}{by.RATE})))",
                    "{{model}}",
                ),
            ),
        ),
    ),
)
DRIFT = Board(
    "drift",
    "Lading / Drift",
    "Scores against calibrated thresholds, what they rest on, and accuracy from feedback.",
    by.OF_MODELS,
    (DISTANCE, WINDOW, TRUTH),
)
