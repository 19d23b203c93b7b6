"""What KEDA asks: 0 of pods that nobody has asked, and nothing where Prometheus sees no pod."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.given.chart import one, render

POD = 'namespace="serve",pod="cards-7d9f8b6c5d-x2x4z"'
READY = {"series": f"lading_ready{{{POD}}}", "values": "1x8"}
ASKED = {"series": f'lading_request_duration_seconds_sum{{{POD},protocol="rest"}}', "values": "0+9x8"}
WAITED = [
    {"series": f"lading_queue_duration_seconds_{name}{{{POD}}}", "values": values}
    for name, values in (("sum", "0x8"), ("count", "0x8"))
]


@pytest.mark.parametrize(
    ("series", "in_flight", "queue_ms"),
    [
        ([READY, *WAITED], [0], [0]),
        ([READY, *WAITED, ASKED], [0.6], [0]),
        ([], [], []),
    ],
    ids=["not asked", "asked", "not seen"],
)
def test_a_pod_that_nobody_asked_is_zero_and_a_pod_that_is_not_seen_is_nothing(
    series: list[dict[str, Any]], in_flight: list[float], queue_ms: list[float], tmp_path: Path
) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    asked, waited = one(render("autoscaling.kind=keda"), "ScaledObject")["spec"]["triggers"]
    checks = [
        {
            "expr": trigger["metadata"]["query"],
            "eval_time": "2m",
            "exp_samples": [{"labels": "{}", "value": value} for value in values],
        }
        for trigger, values in ((asked, in_flight), (waited, queue_ms))
    ]
    tests = {"tests": [{"interval": "15s", "input_series": series, "promql_expr_test": checks}]}
    file = tmp_path / "tests.yaml"
    file.write_text(json.dumps(tests))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
