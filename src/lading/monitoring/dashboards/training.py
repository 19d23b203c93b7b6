"""Training Jobs, the age of artifacts, and the logged inputs and payloads."""

from __future__ import annotations

from lading.monitoring.dashboards import panels as by
from lading.monitoring.dashboards.panels import Board, Panel, PanelRow, Query

_JOB = f'{by.NAMESPACE},job_name=~"$training"'
TRAININGS = ("training", f"label_values(kube_job_status_start_time{{{by.NAMESPACE}}}, job_name)")

JOBS = PanelRow(
    "Training Jobs",
    (
        Panel(
            "Jobs by state",
            "Pods of each training Job, by state.",
            "none",
            tuple(
                Query(f"sum by (job_name) (kube_job_status_{state}{{{_JOB}}})", f"{{{{job_name}}}} {state}")
                for state in ("active", "succeeded", "failed")
            ),
            kind="table",
        ),
        Panel(
            "Duration",
            "Of finished Jobs, from start to completion.",
            "s",
            (
                Query(
                    f"max by (job_name) (kube_job_status_completion_time{{{_JOB}}}) - on (job_name) "
                    f"max by (job_name) (kube_job_status_start_time{{{_JOB}}})",
                    "{{job_name}}",
                ),
            ),
            kind="table",
        ),
        Panel(
            "CPU of training",
            "Cores in use by a Job's pods, whose names begin with the Job's.",
            "none",
            (
                Query(
                    f'sum by (pod) (rate(container_cpu_usage_seconds_total{{{by.NAMESPACE},pod=~"$training-.*",'
                    f'container!=""}}{by.RATE}))',
                    "{{pod}}",
                ),
            ),
        ),
    ),
)
ARTIFACTS = PanelRow(
    "Artifacts",
    (
        Panel(
            "Age of the model",
            "Days since the served artifact was built.",
            "d",
            (
                Query(
                    f"max by (model, version) "
                    f"(time() - lading_model_created_timestamp_seconds{{{by.VARIANT}}}) / 86400",
                    "{{model}} {{version}}",
                ),
            ),
            kind="number",
            thresholds=((60, "orange"), (90, "red")),
            runbooks=("LadingModelStale",),
        ),
        Panel(
            "Score when it was built",
            "As verify measured it, by split of the data.",
            "percentunit",
            (
                Query(
                    f"max by (model, variant, split) (lading_model_score{{{by.VARIANT}}})",
                    "{{model}} {{variant}} {{split}}",
                ),
            ),
            kind="number",
        ),
        Panel(
            "Digest by server",
            "Which artifact each server has: during a rollout or a canary there are two.",
            "none",
            (
                Query(
                    f"max by (instance, model, version, variant, digest) (lading_model_info{{{by.VARIANT}}})",
                    "{{instance}} {{digest}}",
                ),
            ),
            kind="table",
            runbooks=("LadingMixedVersions",),
        ),
    ),
)
DATA = PanelRow(
    "Data that comes in and is kept",
    (
        Panel(
            "Inputs that the model does not take",
            "By what is wrong: a name, dtype, shape or value, a body that cannot be read, no picture, or too large.",
            "reqps",
            (
                Query(
                    f"sum by (model, kind) (rate(lading_schema_violations_total{{{by.MODEL}}}{by.RATE}))",
                    "{{model}} {{kind}}",
                ),
            ),
            kind="stack",
            runbooks=("LadingSchemaViolations",),
        ),
        Panel(
            "Payloads written",
            "Answers in files of the payload log that were written and synced.",
            "ops",
            (Query(f"sum by (job) (rate(lading_payload_written_total{{{by.NAMESPACE}}}{by.RATE}))", "{{job}}"),),
            runbooks=("LadingPayloadDropped",),
        ),
        Panel(
            "Payloads dropped",
            "Lost because the buffer was full or writing failed; the requests themselves were answered.",
            "ops",
            (Query(f"sum by (job) (rate(lading_payload_dropped_total{{{by.NAMESPACE}}}{by.RATE}))", "{{job}}"),),
            thresholds=((0.01, "red"),),
            runbooks=("LadingPayloadDropped",),
        ),
    ),
)
ENDS = PanelRow(
    "What ends on a date",
    (
        Panel(
            "Certificate",
            "Days until the certificate that the ports show expires.",
            "d",
            (
                Query(
                    "min by (job, file) (lading_tls_certificate_expiry_timestamp_seconds"
                    f"{{{by.NAMESPACE}}} - time()) / 86400",
                    "{{file}}",
                ),
            ),
            kind="number",
            thresholds=((0, "red"), (2, "orange"), (14, "green")),
            runbooks=("LadingCertificateExpiring",),
            width=8,
        ),
        Panel(
            "API keys",
            "Days until a key that has an end expires, by the beginning of its SHA-256.",
            "d",
            (
                Query(
                    f"min by (job, key) (lading_api_key_expiry_timestamp_seconds{{{by.NAMESPACE}}} - time()) / 86400",
                    "{{key}}",
                ),
            ),
            kind="number",
            thresholds=((0, "red"), (2, "orange"), (14, "green")),
            runbooks=("LadingKeyExpiring",),
            width=8,
        ),
        Panel(
            "Keys and certificate that cannot be read",
            "1 while the file on disk cannot be used as it is; the log says why.",
            "none",
            (
                Query(
                    f"max by (job, kind) (lading_credentials_unreadable{{{by.NAMESPACE}}})",
                    "{{kind}}",
                ),
            ),
            kind="number",
            thresholds=((0, "green"), (1, "red")),
            runbooks=("LadingCredentialsUnreadable",),
            width=8,
        ),
        Panel(
            "Artifacts refused for their signature",
            "1 while the newest artifact of a model is not that of a trusted key; the log says why.",
            "none",
            (
                Query(
                    f"max by (job, model, reason) (lading_artifact_untrusted{{{by.MODEL}}})",
                    "{{model}} {{reason}}",
                ),
            ),
            kind="number",
            thresholds=((0, "green"), (1, "red")),
            runbooks=("LadingArtifactUntrusted",),
            width=8,
        ),
    ),
)
TRAINING = Board(
    "training",
    "Lading / Training and data",
    "Training Jobs, the artifact's age and score, inputs that are refused, the payload log, and what expires.",
    (*by.OF_MODELS, TRAININGS),
    (JOBS, ARTIFACTS, DATA, ENDS),
)
