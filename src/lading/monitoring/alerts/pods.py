"""Servers that do not start, do not stay, or are not seen."""

from __future__ import annotations

from lading.monitoring.rule import EVERYWHERE, WORKLOAD, Alert

ALERTS = (
    Alert(
        name="LadingNoReadyPod",
        # A model that was ready within the hour and is so nowhere now: its pods say so, or are gone. A Deployment that
        # was scaled to nothing on purpose is no fault.
        expr=(
            f"max by (namespace, model) (max_over_time(lading_ready{{{EVERYWHERE}}}[1h])) == 1\n"
            f"unless max by (namespace, model) (lading_ready{{{EVERYWHERE}}}) == 1\n"
            "unless on (namespace)\n"
            f'sum by (namespace) (kube_deployment_spec_replicas{{{EVERYWHERE},deployment=~"{WORKLOAD}"}}) == 0'
        ),
        severity="critical",
        wait="2m",
        summary="No server has {{ $labels.model }} ready: every request to it fails.",
    ),
    Alert(
        name="LadingNotReady",
        expr=f"lading_ready{{{EVERYWHERE}}} == 0",
        severity="warning",
        wait="10m",
        summary="{{ $labels.instance }} has had {{ $labels.model }}, variant {{ $labels.variant }}, not ready for 10 "
        "minutes: it does not load, or its golden outputs do not match.",
    ),
    Alert(
        name="LadingCrashLooping",
        expr=(
            "max by (namespace, pod, container) (\n"
            f'  increase(kube_pod_container_status_restarts_total{{{EVERYWHERE},pod=~"{WORKLOAD}"}}[15m])\n) > 2'
        ),
        severity="critical",
        summary="{{ $labels.pod }} restarted {{ $value | humanize }} times within 15 minutes (more than 2).",
    ),
    Alert(
        name="LadingSlowStart",
        expr=(
            f"lading_start_duration_seconds{{{EVERYWHERE}}} > 60\n"
            f"and on (job, instance) (time() - process_start_time_seconds{{{EVERYWHERE}}} < 1800)"
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
            f"  group by (namespace, model, version, digest) (lading_model_info{{{EVERYWHERE}}})\n) > 1"
        ),
        severity="warning",
        wait="30m",
        summary="{{ $value }} different artifacts answer as {{ $labels.model }}, version {{ $labels.version }}, for 30 "
        "minutes: a rollout hangs, or a canary was forgotten.",
    ),
    Alert(
        name="LadingScrapeLost",
        # Only targets that did show a server's metrics within the hour; no job's name is needed for that.
        expr=(
            f"up{{{EVERYWHERE}}} == 0\nand on (job, instance)\nmax_over_time(lading_usable_cpus{{{EVERYWHERE}}}[1h])"
        ),
        severity="warning",
        wait="3m",
        summary="{{ $labels.instance }} of {{ $labels.job }} does not answer Prometheus any more: it is dead, hangs, "
        "or is out of reach, and none of its other alerts can fire.",
    ),
)
