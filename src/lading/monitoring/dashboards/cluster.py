"""Pods and autoscaling: kube-state-metrics and cAdvisor next to the servers' own metrics."""

from __future__ import annotations

from lading.monitoring.dashboards import panels as by
from lading.monitoring.dashboards.panels import Board, Panel, PanelRow, Query

_CONTAINER = f'{by.WORKLOAD},container!=""'
_HPA = f'{by.NAMESPACE},horizontalpodautoscaler=~"$workload"'
_DEPLOYMENT = f'{by.NAMESPACE},deployment=~"$workload"'
_POD = "{{pod}}"

SCALING = PanelRow(
    "Autoscaling",
    (
        Panel(
            "Replicas",
            "Wanted, there, and the bounds of the autoscaler.",
            "none",
            tuple(
                Query(
                    f"max by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_{part}_replicas{{{_HPA}}})", name
                )
                for part, name in (
                    ("status_current", "current"),
                    ("status_desired", "desired"),
                    ("spec_min", "least"),
                    ("spec_max", "most"),
                )
            ),
            runbooks=("LadingAtMaxReplicas",),
        ),
        Panel(
            "Requests in flight, a replica",
            "What autoscaling on concurrency looks at: begun and not answered, over the servers.",
            "none",
            (
                Query(
                    f"sum(lading_requests_in_flight{{{by.NAMESPACE}}}) / count(lading_usable_cpus{{{by.NAMESPACE}}})",
                    "in flight",
                ),
            ),
            runbooks=("LadingAtMaxReplicas", "LadingQueueSaturated"),
        ),
        Panel(
            "Available replicas",
            "Of those that the Deployment asks for.",
            "none",
            (
                Query(f"max by (deployment) (kube_deployment_spec_replicas{{{_DEPLOYMENT}}})", "{{deployment}} wanted"),
                Query(
                    f"max by (deployment) (kube_deployment_status_replicas_available{{{_DEPLOYMENT}}})",
                    "{{deployment}} available",
                ),
            ),
            runbooks=("LadingNoReadyPod",),
        ),
    ),
)
RESOURCES = PanelRow(
    "CPU and memory",
    (
        Panel(
            "CPU",
            "Cores in use by pod.",
            "none",
            (Query(f"sum by (pod) (rate(container_cpu_usage_seconds_total{{{_CONTAINER}}}{by.RATE}))", _POD),),
        ),
        Panel(
            "CPU throttled",
            "Share of CPU periods in which a pod was stopped at its limit: requests stop in mid-run.",
            "percentunit",
            (
                Query(
                    f"sum by (pod) (rate(container_cpu_cfs_throttled_periods_total{{{_CONTAINER}}}{by.RATE})) / "
                    f"sum by (pod) (rate(container_cpu_cfs_periods_total{{{_CONTAINER}}}{by.RATE}))",
                    _POD,
                ),
            ),
            thresholds=((0.25, "red"),),
            runbooks=("LadingCPUThrottled",),
        ),
        Panel(
            "Memory over its limit",
            "Working set over the limit; above it the kernel kills the process.",
            "percentunit",
            (
                Query(
                    f"max by (pod, container) (container_memory_working_set_bytes{{{_CONTAINER}}}) / "
                    "on (pod, container) "
                    f'max by (pod, container) (kube_pod_container_resource_limits{{{_CONTAINER},resource="memory"}})',
                    _POD,
                ),
            ),
            thresholds=((0.9, "red"),),
            runbooks=("LadingMemoryNearLimit",),
        ),
        Panel(
            "Memory of the process",
            "Resident memory as the servers say it themselves: a line that only rises is a leak.",
            "bytes",
            (
                Query(
                    f"process_resident_memory_bytes{{{by.NAMESPACE}}} and on (job, instance) "
                    f"lading_usable_cpus{{{by.NAMESPACE}}}",
                    "{{instance}}",
                ),
            ),
            runbooks=("LadingMemoryNearLimit",),
            width=12,
        ),
        Panel(
            "Usable CPUs and lanes",
            "After affinity and the cgroup's limit; lanes are the requests that run at once.",
            "none",
            (
                Query(f"max by (instance) (lading_usable_cpus{{{by.NAMESPACE}}})", "{{instance}} CPUs"),
                Query(f"max by (instance) (lading_lanes{{{by.NAMESPACE}}})", "{{instance}} lanes"),
            ),
            width=12,
        ),
    ),
)
LIFE = PanelRow(
    "Starts and ends",
    (
        Panel(
            "Restarts",
            "Of containers, within 15 minutes.",
            "none",
            (
                Query(
                    f"max by (pod) (increase(kube_pod_container_status_restarts_total{{{by.WORKLOAD}}}[15m]))",
                    _POD,
                ),
            ),
            thresholds=((2, "red"),),
            runbooks=("LadingCrashLooping",),
        ),
        Panel(
            "From start to ready",
            "Seconds from the process's start until its models were loaded, checked and warm.",
            "s",
            (Query(f"max by (instance) (lading_start_duration_seconds{{{by.NAMESPACE}}})", "{{instance}}"),),
            thresholds=((60, "red"),),
            runbooks=("LadingSlowStart",),
        ),
        Panel(
            "Lanes replaced",
            "Threads that hung in a decoding or a run and were replaced, in 15 minutes. Each keeps its memory.",
            "none",
            (
                Query(
                    f"sum by (instance) (increase(lading_lanes_replaced_total{{{by.NAMESPACE}}}[15m]))", "{{instance}}"
                ),
            ),
            thresholds=((1, "red"),),
            runbooks=("LadingLaneReplaced", "LadingWorkerEnded"),
        ),
        Panel(
            "Waiting containers",
            "By what they wait for.",
            "none",
            (
                Query(
                    f"sum by (pod, reason) (kube_pod_container_status_waiting_reason{{{by.WORKLOAD}}})",
                    "{{pod}} {{reason}}",
                ),
            ),
            kind="table",
            runbooks=("LadingCrashLooping",),
        ),
    ),
)
CLUSTER = Board(
    "cluster",
    "Lading / Cluster and autoscaling",
    "Replicas, CPU, memory, restarts and starts, from kube-state-metrics, cAdvisor and the servers.",
    (by.NAMESPACES, by.WORKLOADS),
    (SCALING, RESOURCES, LIFE),
)
