"""Drift detection has a limited cost, whatever the requests are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from lading.record.drift_monitor import DriftMonitor
from lading.record.exchange import Exchange
from lading.record.metrics import RecordingMetrics
from lading.serve.http.app import App
from lading.settings import Settings
from tests.given.recorded import with_reference
from tests.given.small_artifacts import table_artifact


def test_a_request_of_many_examples_uses_the_budget_of_many_requests(tmp_path: Path) -> None:
    artifact = with_reference(table_artifact(tmp_path / "small"), tmp_path / "artifact")
    model = App(Settings(), artifacts=[artifact]).repository.find().info

    def examined(examples: int) -> int:
        """The number of requests that are examined out of 50 that come at once, at 20 examples per second."""
        monitor = DriftMonitor(RecordingMetrics(CollectorRegistry()), window=50, per_second=20)
        assert monitor.watch(artifact, model.variant)
        inputs, outputs = (
            {"features": np.zeros((examples, 4), np.float32)},
            {"total": np.zeros((examples, 1), np.float32)},
        )
        exchange = Exchange("id", model, "http", 200, "", 0.1, 0.0, inputs, outputs)
        return sum(monitor.wants(exchange) for _ in range(50))

    assert 20 <= examined(1) < 50
    assert examined(10) in (2, 3)
    assert examined(128) == 1
