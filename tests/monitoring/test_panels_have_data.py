"""Every query of every panel, asked of a real Prometheus that scrapes real servers under load, returns data.

What only a cluster has (kube-state-metrics, cAdvisor), a certificate's end, and drift, feedback and the payload log,
which take a reference and a day of requests, come from an exporter of this test, under their real names and labels.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from lading.monitoring.dashboards import BOARDS
from lading.monitoring.dashboards.panels import board_json
from lading.monitoring.slo import Slo
from lading.monitoring.write import rule_files
from tests.given.changed_artifacts import with_costs
from tests.given.live_server import live_server
from tests.given.small_artifacts import table_artifact
from tests.given.traffic import asking, hold_a_lane, post
from tools.stack import free_port, prometheus_stack

PATIENCE_S = 90.0
VALUES = {"namespace": ".*", "model": ".*", "variant": ".*", "workload": "lading-cards", "training": ".*"}
POD = {"pod": "lading-cards-7d9f8b6c5d-x2x4z", "container": "server"}
GAUGES: dict[str, dict[str, str]] = {
    "container_memory_working_set_bytes": POD,
    "kube_pod_container_resource_limits": {**POD, "resource": "memory"},
    "kube_pod_container_status_waiting_reason": {**POD, "reason": "ContainerCreating"},
    "kube_deployment_spec_replicas": {"deployment": "lading-cards"},
    "kube_deployment_status_replicas_available": {"deployment": "lading-cards"},
    **{
        f"kube_horizontalpodautoscaler_{part}_replicas": {"horizontalpodautoscaler": "lading-cards"}
        for part in ("status_current", "status_desired", "spec_min", "spec_max")
    },
    **{
        f"kube_job_status_{part}": {"job_name": "lading-train"}
        for part in ("active", "succeeded", "failed", "start_time", "completion_time")
    },
    "lading_tls_certificate_expiry_timestamp_seconds": {"file": "tls.crt"},
    "lading_credentials_unreadable": {"kind": "keys"},
    "lading_artifact_untrusted": {"model": "cards", "reason": "unsigned"},
    **{
        f"lading_drift_{part}": {"model": "cards", "feature": "image:brightness", "test": "psi"}
        for part in ("score", "threshold", "p_value")
    },
    "lading_drift_window_requests": {"model": "cards"},
    "lading_drift_evaluated_timestamp_seconds": {"model": "cards"},
    "lading_live_accuracy": {"model": "cards", "variant": "int8", "output": "suit"},
}
COUNTERS: dict[str, dict[str, str]] = {
    "container_cpu_cfs_throttled_periods": POD,
    "container_cpu_cfs_periods": POD,
    "kube_pod_container_status_restarts": POD,
    "lading_feedback": {"model": "cards", "variant": "int8", "output": "suit", "result": "right"},
    "lading_payload_written": {},
    "lading_payload_dropped": {},
}


@contextlib.contextmanager
def exporter() -> Iterator[str]:
    """Series that a laptop has no source for; counters rise."""
    registry = CollectorRegistry()
    for name, labels in GAUGES.items():
        gauge = Gauge(name, "As its own exporter has it.", labels, registry=registry)
        (gauge.labels(*labels.values()) if labels else gauge).set(time.time() if "time" in name else 0.5)
    rising: list[Counter] = []
    cpu = Counter("container_cpu_usage_seconds", "As cAdvisor has it.", POD, registry=registry)
    rising.append(cpu.labels(*POD.values()))
    for name, labels in COUNTERS.items():
        counter = Counter(name, "As its own exporter has it.", labels, registry=registry)
        rising.append(counter.labels(*labels.values()) if labels else counter)
    # A training Job's pod, whose name begins with the Job's.
    rising.append(cpu.labels("lading-train-x2k", "train"))
    delay = Histogram("lading_feedback_delay_seconds", "Delay.", ("model", "variant"), registry=registry)
    port = free_port()
    server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)

    def rise() -> None:
        for counter in rising:
            counter.inc()
        delay.labels("cards", "int8").observe(2.0)

    try:
        with asking(rise, 0.5):
            yield f"127.0.0.1:{port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def queries() -> list[tuple[str, str]]:
    """Of the JSON that Grafana gets: where each query stands, and itself with the variables' values in it."""
    found = []
    for board in BOARDS:
        for panel in json.loads(board_json(board))["panels"]:
            for target in panel.get("targets", ()):
                expr = target["expr"].replace("$__rate_interval", "20s")
                for name, value in VALUES.items():
                    expr = expr.replace(f"${name}", value)
                found.append((f"{board.name} / {panel['title']} / {target['refId']}", expr))
    return found


def has_data(prometheus: str, expr: str) -> bool:
    answer: dict[str, Any] = httpx.get(f"{prometheus}/api/v1/query", params={"query": expr}).json()
    assert answer["status"] == "success", f"{expr}: {answer.get('error')}"
    return any(math.isfinite(float(series["value"][1])) for series in answer["data"]["result"])


@pytest.mark.slow
def test_every_query_of_every_panel_returns_data(tmp_path: Path) -> None:
    artifact = with_costs(table_artifact(tmp_path / "table"), tmp_path / "measured", {1: 0.1, 8: 0.2})
    measured = artifact.variant().measurement
    assert measured is not None
    (tmp_path / "keys").write_text("alpha expires=2099-12-31\n")
    slos = [Slo.model_validate({"model": "*", "latency": {"threshold_ms": 25}})]
    groups = [group for file in rule_files(slos).values() for group in file]
    asked = {"features": [[1, 2, 3, 4]]}
    with contextlib.ExitStack() as running:
        live = running.enter_context(live_server(artifact, max_queue=1))
        keyed = running.enter_context(live_server(artifact, api_keys=tmp_path / "keys"))
        live.app.metrics.model_score.labels("small-table", "fp32", "test").set(0.9)
        for body in (asked, asked, {"features": [[1]]}):
            running.enter_context(asking(post(live, body), 0.2))
        for _ in range(4):
            running.enter_context(asking(lambda: hold_a_lane(live), 0.0))
        targets = {"test": [live.url[7:], keyed.url[7:], running.enter_context(exporter())]}
        stack = running.enter_context(prometheus_stack(tmp_path / "stack", targets, groups, interval="2s"))
        waiting = queries()
        end = time.monotonic() + PATIENCE_S
        while waiting and time.monotonic() < end:
            time.sleep(1.0)
            waiting = [(where, expr) for where, expr in waiting if not has_data(stack.prometheus, expr)]
        assert not waiting
