"""``lading drift serve``: drift and accuracy of all pods together, from the log that they share."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from lading.artifact import Artifact
from lading.errors import DataError
from lading.record.drift_service import DriftService, drift_app
from lading.record.log_source import log_source
from tests.given.live_server import live_server
from tests.given.recorded import with_reference
from tests.given.small_artifacts import table_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("artifact")
    return with_reference(table_artifact(folder / "plain"), folder / "artifact")


def asked(app: Starlette, *paths: str) -> list[httpx.Response]:
    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://drift") as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(ask())


def series(service: DriftService, name: str) -> dict[str, float]:
    (answer,) = asked(drift_app(service, 60), "/metrics")
    lines = [line.rpartition(" ") for line in answer.text.splitlines() if line.startswith(name)]
    return {labels: float(value) for labels, _, value in lines}


def test_truths_and_answers_of_two_pods_are_joined(artifact: Artifact, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"payload_log": str(tmp_path), "feedback": 1000, "drift": False}
    with live_server(artifact, **settings) as one, live_server(artifact, **settings) as other:
        pods = (one, other)
        statuses = []
        for number, row in enumerate(np.random.default_rng(3).normal(1.5, 1, (60, 4))):
            request_id = f"id-{number}"
            body = {"features": [row.tolist()]}
            answer = pods[number % 2].client.post("/predict", json=body, headers={"x-request-id": request_id})
            total = answer.json()["outputs"]["total"][0][0]
            # Half of the truths go to the pod that did not answer.
            told = pods[number // 2 % 2].client.post(
                "/feedback", json={"request_id": request_id, "truth": {"total": total + 0.5}}
            )
            statuses.append(told.status_code)
            if told.status_code == 202:
                assert "this server does not remember the answer" in told.json()["message"]
    assert sorted(set(statuses)) == [200, 202]
    assert len([status for status in statuses if status == 202]) == 30

    service = DriftService(log_source(tmp_path), artifact, window=50)
    service.look()
    (error,) = series(service, "lading_live_absolute_error{").items()
    assert 'scope="service"' in error[0]
    assert error[1] == pytest.approx(0.5, abs=1e-5)
    scores = series(service, "lading_drift_score{")
    thresholds = series(service, "lading_drift_threshold{")
    labels = '{feature="features.0",model="small-table",test="psi"}'
    assert scores[f"lading_drift_score{labels}"] > thresholds[f"lading_drift_threshold{labels}"]
    assert series(service, "lading_drift_window_requests{") == {'lading_drift_window_requests{model="small-table"}': 50}


def test_new_files_are_read_and_old_ones_are_not_read_again(artifact: Artifact, tmp_path: Path) -> None:
    service = DriftService(log_source(tmp_path), artifact, window=50)
    for count in (20, 40):
        with live_server(artifact, payload_log=str(tmp_path)) as live:
            for _ in range(20):
                live.client.post("/predict", json={"features": [[1, 2, 3, 4]]})
        service.look()
        assert series(service, "lading_drift_window_requests{").popitem()[1] == count
        assert not series(service, "lading_drift_score{")  # the window is not full


def test_a_log_that_is_not_there_is_said_by_readiness_and_by_the_report(artifact: Artifact, tmp_path: Path) -> None:
    log = tmp_path / "log"
    service = DriftService(log_source(log), artifact, window=50)
    app = drift_app(service, 60)
    alive, unread = asked(app, "/livez", "/readyz")
    assert (alive.status_code, unread.status_code) == (200, 503)
    service.look()
    (missing,) = asked(app, "/readyz")
    assert missing.status_code == 503
    assert "log is no folder: name the one that LADING_PAYLOAD_LOG names" in missing.text
    log.mkdir()
    service.look()
    ready, refused, zero = asked(app, "/readyz", "/report?n=many", "/report?n=0")
    assert ready.status_code == 200
    assert (refused.status_code, zero.status_code) == (400, 400)


def test_an_artifact_without_thresholds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no reference with thresholds"):
        DriftService(log_source(tmp_path), table_artifact(tmp_path / "artifact"), window=50)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Evidently's own
def test_evidently_reports_on_the_newest_examples(artifact: Artifact, tmp_path: Path) -> None:
    with live_server(artifact, payload_log=str(tmp_path)) as live:
        for row in np.random.default_rng(3).normal(1.5, 1, (60, 4)):
            live.client.post("/predict", json={"features": [row.tolist()]})
    report, nothing = (
        asked(drift_app(DriftService(log_source(folder), artifact, 50), 60), "/report?n=50")[0]
        for folder in (tmp_path, tmp_path / "small-table" / "1")
    )
    assert report.status_code == 200
    assert "features.0" in report.text
    assert nothing.status_code == 200  # the folder of one version is a log too
