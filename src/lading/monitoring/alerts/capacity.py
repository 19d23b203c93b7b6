"""More work than there is room for: it shows here before it shows to users, or says why it does."""

from __future__ import annotations

from lading.monitoring.rule import EVERYWHERE, WORKLOAD, Alert

_CONTAINER = f'{EVERYWHERE},pod=~"{WORKLOAD}",container!=""'
_BY_CONTAINER = "max by (namespace, pod, container)"

ALERTS = (
    Alert(
        name="LadingQueueSaturated",
        expr=(
            f"avg_over_time(lading_queue_length{{{EVERYWHERE}}}[5m])\n"
            f"  / (lading_queue_limit{{{EVERYWHERE}}} > 0)\n> 0.5"
        ),
        severity="warning",
        summary="The queue of {{ $labels.instance }} has been {{ $value | humanizePercentage }} full on average "
        "(more than 50 %): every request waits, and the next burst is refused.",
    ),
    Alert(
        name="LadingShedding",
        expr=(
            f"sum by (namespace, job, reason) (rate(lading_shed_total{{{EVERYWHERE}}}[5m]))\n"
            "  / on (namespace, job) group_left ()\n"
            f"sum by (namespace, job) (rate(lading_requests_total{{{EVERYWHERE}}}[5m]))\n> 0.01"
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
        summary="{{ $labels.horizontalpodautoscaler }} has run at its most, {{ $value }} replicas, for 15 minutes: it "
        "cannot grow any more.",
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
        "25 %): requests stop in mid-run, up to 100 ms each.",
    ),
)
