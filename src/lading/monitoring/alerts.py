"""Alerts besides those of the SLOs: causes that soon break an SLO, and faults that no request shows."""

from __future__ import annotations

from lading.monitoring.rules import EVERYWHERE, PODS, SERVERS, WORKLOAD, Alert, Group

_ALL = f"sum by (namespace, model) (rate(lading_requests_total{{{SERVERS}}}[5m]))"


def _share(numerator: str) -> str:
    return f"{numerator}\n  / on (namespace, model) group_left ()\n{_ALL}"


_ERRORS = (
    Alert(
        name="LadingServerErrors",
        expr=_share(f'sum by (namespace, model, code) (rate(lading_requests_total{{{SERVERS},code=~"5.."}}[5m]))')
        + "\n> 0.01",
        severity="warning",
        summary="{{ $value | humanizePercentage }} of the requests to {{ $labels.model }} are answered with "
        "{{ $labels.code }} (more than 1 %).",
    ),
    Alert(
        name="LadingClientErrors",
        expr=_share(
            f'sum by (namespace, model, code) (rate(lading_requests_total{{{SERVERS},code=~"4..",code!="429"}}[5m]))'
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
            "NS", SERVERS
        ),
        severity="warning",
        wait="10m",
        summary="{{ $value | humanize }} requests per second to {{ $labels.job }} have no valid key (answered with "
        "{{ $labels.code }}; more than 0.1): a client missed a rotation, or someone is trying keys.",
    ),
    Alert(
        name="LadingSchemaViolations",
        expr=_share(f"sum by (namespace, model, kind) (rate(lading_schema_violations_total{{{SERVERS}}}[5m]))")
        + "\n> 0.05",
        severity="warning",
        wait="10m",
        summary="{{ $value | humanizePercentage }} of the requests to {{ $labels.model }} have inputs that it does not "
        "take: their {{ $labels.kind }} is wrong (more than 5 %).",
    ),
)

_CONTAINER = f'{PODS},container!=""'
_BY_CONTAINER = "max by (namespace, pod, container)"

_CAPACITY = (
    Alert(
        name="LadingQueueSaturated",
        expr=(f"avg_over_time(lading_queue_length{{{SERVERS}}}[5m])\n  / (lading_queue_limit{{{SERVERS}}} > 0)\n> 0.5"),
        severity="warning",
        summary="The queue of {{ $labels.instance }} has been {{ $value | humanizePercentage }} full on average "
        "(more than 50 %): every request waits, and the next burst will be refused.",
    ),
    Alert(
        name="LadingShedding",
        expr=(
            f"sum by (namespace, job, reason) (rate(lading_shed_total{{{SERVERS}}}[5m]))\n"
            "  / on (namespace, job) group_left ()\n"
            f"sum by (namespace, job) (rate(lading_requests_total{{{SERVERS}}}[5m]))\n> 0.01"
        ),
        severity="warning",
        summary="{{ $labels.job }} refuses {{ $value | humanizePercentage }} of its requests for overload, reason "
        "{{ $labels.reason }} (more than 1 %).",
    ),
    Alert(
        name="LadingAtMaxReplicas",
        expr=(
            f'kube_horizontalpodautoscaler_status_current_replicas{{{EVERYWHERE},horizontalpodautoscaler=~"{WORKLOAD}"}}'
            "\n  >= on (namespace, horizontalpodautoscaler)\n"
            f'kube_horizontalpodautoscaler_spec_max_replicas{{{EVERYWHERE},horizontalpodautoscaler=~"{WORKLOAD}"}}'
        ),
        severity="warning",
        wait="15m",
        summary="{{ $labels.horizontalpodautoscaler }} has run at its maximum of {{ $value }} replicas "
        "for 15 minutes: it cannot scale up.",
    ),
    Alert(
        name="LadingMemoryNearLimit",
        expr=(
            f"{_BY_CONTAINER} (container_memory_working_set_bytes{{{_CONTAINER}}})\n"
            "  / on (namespace, pod, container)\n"
            f'{_BY_CONTAINER} (kube_pod_container_resource_limits{{{_CONTAINER},resource="memory"}})\n> 0.9'
        ),
        severity="warning",
        wait="10m",
        summary="{{ $labels.pod }} uses {{ $value | humanizePercentage }} of its memory limit (more than 90 %): above "
        "it the kernel kills it.",
    ),
    Alert(
        name="LadingCPUThrottled",
        expr=(
            f"{_BY_CONTAINER} (rate(container_cpu_cfs_throttled_periods_total{{{_CONTAINER}}}[5m]))\n"
            "  / on (namespace, pod, container)\n"
            f"{_BY_CONTAINER} (rate(container_cpu_cfs_periods_total{{{_CONTAINER}}}[5m]))\n> 0.25"
        ),
        severity="warning",
        wait="15m",
        summary="{{ $labels.pod }} was throttled in {{ $value | humanizePercentage }} of its CPU periods (more than "
        "25 %): requests pause for up to 100 ms.",
    ),
)

_PODS = (
    Alert(
        name="LadingNoReadyPod",
        # The model was ready within the last hour and is ready nowhere now. A Deployment that was scaled to zero on
        # purpose is not a fault.
        expr=(
            f"max by (namespace, model) (max_over_time(lading_ready{{{SERVERS}}}[1h])) == 1\n"
            f"unless max by (namespace, model) (lading_ready{{{SERVERS}}}) == 1\n"
            "unless on (namespace)\n"
            f'sum by (namespace) (kube_deployment_spec_replicas{{{EVERYWHERE},deployment=~"{WORKLOAD}"}}) == 0'
        ),
        severity="critical",
        wait="2m",
        summary="No server has {{ $labels.model }} ready: every request to it fails.",
    ),
    Alert(
        name="LadingNotReady",
        expr=f"lading_ready{{{SERVERS}}} == 0",
        severity="warning",
        wait="10m",
        summary="{{ $labels.instance }} has had {{ $labels.model }}, variant {{ $labels.variant }}, not ready for 10 "
        "minutes: it does not load, or its golden outputs do not match.",
    ),
    Alert(
        name="LadingArtifactUntrusted",
        expr=f"max by (namespace, job, model, reason) (lading_artifact_untrusted{{{SERVERS}}}) == 1",
        severity="critical",
        wait="1m",
        summary="{{ $labels.job }} refuses an artifact of {{ $labels.model }}, because its signature is not that of a "
        "trusted key ({{ $labels.reason }}): it was not signed, or someone has changed it.",
    ),
    Alert(
        name="LadingCrashLooping",
        expr=(
            "max by (namespace, pod, container) (\n"
            f"  increase(kube_pod_container_status_restarts_total{{{PODS}}}[15m])\n) > 2"
        ),
        severity="critical",
        summary="{{ $labels.pod }} restarted {{ $value | humanize }} times within 15 minutes (more than 2).",
    ),
    Alert(
        name="LadingLaneReplaced",
        expr=f"sum by (namespace, job, instance) (increase(lading_lanes_replaced_total{{{SERVERS}}}[15m])) > 0",
        severity="warning",
        summary="{{ $labels.instance }} of {{ $labels.job }} replaced {{ $value | humanize }} lanes within 15 minutes: "
        "a decoding or a run hung, and each hanging thread keeps its memory.",
    ),
    Alert(
        name="LadingWorkerEnded",
        expr=f"sum by (namespace, job, instance) (increase(lading_workers_ended_total{{{SERVERS}}}[15m])) > 0",
        severity="warning",
        summary="{{ $value | humanize }} workers of {{ $labels.instance }} of {{ $labels.job }} were killed or failed "
        "within 15 minutes: the requests that they had were lost.",
    ),
    Alert(
        name="LadingSlowStart",
        expr=(
            f"lading_start_duration_seconds{{{SERVERS}}} > 60\n"
            f"and on (job, instance) (time() - process_start_time_seconds{{{SERVERS}}} < 1800)"
        ),
        severity="warning",
        wait="1m",
        summary="{{ $labels.instance }} took {{ $value | humanizeDuration }} from its start until its models were "
        "ready (more than 1m 0s): autoscaling and rollouts wait for it.",
    ),
    Alert(
        name="LadingMixedVersions",
        expr=(
            "count by (namespace, model, version) (\n"
            f"  group by (namespace, model, version, digest) (lading_model_info{{{SERVERS}}} == 1)\n) > 1"
        ),
        severity="warning",
        wait="30m",
        summary="{{ $value }} different artifacts answer as {{ $labels.model }}, version {{ $labels.version }}, for 30 "
        "minutes: a rollout is stuck, or a canary was forgotten.",
    ),
    Alert(
        name="LadingScrapeLost",
        # Only targets that exported a server's metrics within the last hour, so that no job name is needed.
        expr=(f"up{{{SERVERS}}} == 0\nand on (job, instance)\nmax_over_time(lading_usable_cpus{{{SERVERS}}}[1h])"),
        severity="warning",
        wait="3m",
        summary="{{ $labels.instance }} of {{ $labels.job }} no longer answers Prometheus: it is down, hangs, "
        "or cannot be reached, and none of its other alerts can fire.",
    ),
)

_BY_MODEL = "namespace, model, feature, test"
_EVALUATED = f"and on (job, instance, model) (time() - lading_drift_evaluated_timestamp_seconds{{{SERVERS}}} < 21600)"
"""A release without requests keeps the scores of its last ones, as the old one does after a promotion."""

_DATA = (
    Alert(
        name="LadingDrift",
        expr=(
            f"max by ({_BY_MODEL}) (lading_drift_score{{{SERVERS}}} {_EVALUATED})\n"
            f"  > on ({_BY_MODEL})\nmax by ({_BY_MODEL}) (lading_drift_threshold{{{SERVERS}}} {_EVALUATED})"
        ),
        severity="warning",
        wait="15m",
        summary="Requests to {{ $labels.model }} have drifted from its training data: {{ $labels.feature }} scores "
        "{{ $value | humanize }} in {{ $labels.test }}, above its calibrated threshold.",
    ),
    Alert(
        name="LadingModelStale",
        expr=(
            "max by (namespace, model, version) (\n"
            f"  time() - lading_model_created_timestamp_seconds{{{SERVERS}}}\n) / 86400 > 90"
        ),
        severity="warning",
        wait="1h",
        summary="{{ $labels.model }}, version {{ $labels.version }}, was built {{ $value | humanize }} days ago (more "
        "than 90): train it on newer data, or silence this alert.",
    ),
    Alert(
        name="LadingPayloadDropped",
        expr=f"sum by (namespace, job) (increase(lading_payload_dropped_total{{{SERVERS}}}[5m])) > 0",
        severity="warning",
        wait="10m",
        summary="{{ $labels.job }} dropped {{ $value | humanize }} payloads within 5 minutes instead of logging them: "
        "its disk or bucket is slower than its traffic, or full.",
    ),
)

_CERTIFICATE = (
    f"min by (namespace, job, file) (\n  lading_tls_certificate_expiry_timestamp_seconds{{{SERVERS}}} - time()\n)"
)
_ENDS = "The certificate {{ $labels.file }} of {{ $labels.job }} expires in {{ $value | humanizeDuration }}"

_CREDENTIALS = (
    Alert(
        name="LadingCertificateExpiring",
        expr=f"{_CERTIFICATE} < 2 * 86400",
        severity="critical",
        summary=f"{_ENDS} (less than 2 days): clients will refuse to connect.",
    ),
    Alert(
        name="LadingCertificateExpiring",
        expr=f"{_CERTIFICATE} < 14 * 86400 >= 2 * 86400",
        severity="warning",
        wait="1h",
        summary=f"{_ENDS} (less than 14 days).",
    ),
    Alert(
        name="LadingCredentialsUnreadable",
        expr=f"max by (namespace, job, kind) (lading_credentials_unreadable{{{SERVERS}}}) == 1",
        severity="warning",
        summary="{{ $labels.job }} cannot use the file of its {{ $labels.kind }} as it is now: a revoked key may still "
        "be accepted, a new key refused, or an old certificate shown.",
    ),
    Alert(
        name="LadingKeyExpiring",
        # Until a week after its end. By then its clients have noticed, and only the line in the file is left.
        expr=(
            "min by (namespace, job, key) (\n"
            f"  lading_api_key_expiry_timestamp_seconds{{{SERVERS}}} - time()\n) < 14 * 86400 > -7 * 86400"
        ),
        severity="warning",
        wait="1h",
        summary="The API key whose SHA-256 begins with {{ $labels.key }} is refused by {{ $labels.job }} in "
        "{{ $value | humanizeDuration }} (less than 14 days).",
    ),
)

ALERT_GROUPS = (
    Group("lading-errors", _ERRORS),
    Group("lading-capacity", _CAPACITY),
    Group("lading-pods", _PODS),
    Group("lading-data", _DATA),
    Group("lading-credentials", _CREDENTIALS),
)
