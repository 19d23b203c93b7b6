"""Alertmanager's webhook starts the Job that a person prepared, at most once in a while, and nothing else."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from starlette.applications import Starlette

from lading.deploy.kubernetes import Cluster
from lading.deploy.retraining import MODEL_LABEL, Retraining, retraining_app
from tests.given.api_server import NAMESPACE, ApiServer, api_server

MANIFESTS = Path(__file__).parents[2] / "k8s" / "training" / "retraining"
CRONJOB = yaml.safe_load((MANIFESTS / "cronjob.yaml").read_text())
TEMPLATE = {**CRONJOB, "metadata": {**CRONJOB["metadata"], "uid": "0-1-2"}}
TOKEN = "of-alertmanager"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with api_server({"cronjobs/retraining-cards": TEMPLATE}) as server:
        yield server


class Receiver:
    """The application, asked without a port."""

    def __init__(self, app: Starlette) -> None:
        self.app = app

    def post(self, path: str, **what: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
                return await client.post(path, **what)

        return asyncio.run(ask())


@pytest.fixture
def receiver(api: ApiServer) -> Receiver:
    cluster = Cluster.connect(api.url, retries=0)
    return Receiver(retraining_app(Retraining(cluster, NAMESPACE, 3600, ["LadingDrift"]), TOKEN))


def notification(*, model: str = "cards", name: str = "LadingDrift", status: str = "firing") -> dict[str, Any]:
    """As Alertmanager sends it, version 4."""
    alert = {
        "status": status,
        "labels": {"alertname": name, "model": model, "namespace": "prod", "severity": "warning"},
        "annotations": {},
        "startsAt": "2026-11-24T03:00:00Z",
        "fingerprint": "abc",
    }
    return {"version": "4", "status": status, "receiver": "retraining", "alerts": [alert]}


def test_drift_starts_the_job_of_the_models_cronjob(receiver: Receiver, api: ApiServer) -> None:
    said = receiver.post("/alerts", json=notification(), headers=BEARER).json()
    ((name, job),) = api.of("jobs").items()
    assert said == {"cards": f"started {name}"}
    assert job["spec"] == CRONJOB["spec"]["jobTemplate"]["spec"]
    assert job["metadata"]["labels"][MODEL_LABEL] == "cards"
    assert job["metadata"]["annotations"]["lading.dev/alert"] == "abc"
    assert job["metadata"]["ownerReferences"][0]["uid"] == "0-1-2"


def test_a_job_that_runs_or_ran_recently_is_not_started_again(receiver: Receiver, api: ApiServer) -> None:
    def again() -> str:
        return str(receiver.post("/alerts", json=notification(), headers=BEARER).json()["cards"])

    again()
    (job,) = api.of("jobs").values()
    assert again().endswith("is running")
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert "was started within 1 hours" in again()
    past = datetime.now(UTC) - timedelta(hours=2)
    job["metadata"]["creationTimestamp"] = past.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert again().endswith("exists"), "two replicas agree on a name"
    api.objects["jobs/older"] = api.objects.pop(f"jobs/{job['metadata']['name']}")
    assert again().startswith("started")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "resolved"}, {}),
        ({"name": "LadingShedding"}, {}),
        ({"model": "other"}, {"other": f"skipped: no CronJob has the label {MODEL_LABEL}=other"}),
        ({"model": "a,b in (c)"}, {"a,b in (c)": "skipped: not a valid model name"}),
    ],
)
def test_nothing_else_starts_one(
    receiver: Receiver, api: ApiServer, changes: dict[str, str], said: dict[str, str]
) -> None:
    assert receiver.post("/alerts", json=notification(**changes), headers=BEARER).json() == said
    assert not api.of("jobs")


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer other"}, {"authorization": TOKEN}])
def test_without_the_token_nothing_starts(receiver: Receiver, api: ApiServer, headers: dict[str, str]) -> None:
    assert receiver.post("/alerts", json=notification(), headers=headers).status_code == 401
    assert not api.of("jobs")


@pytest.mark.parametrize(
    ("body", "code"), [(b"[]", 400), (b"{", 400), (b'{"alerts": [1]}', 400), (b" " * 2_000_000, 413)]
)
def test_a_body_that_is_not_a_notification_is_refused(receiver: Receiver, body: bytes, code: int) -> None:
    assert receiver.post("/alerts", content=body, headers=BEARER).status_code == code


def test_the_command_receives_an_alert_with_no_package_of_the_server(api: ApiServer, tmp_path: Path) -> None:
    """As ``lading[kubernetes]`` installs it. A model file writes its own name, and it stays one line of the log."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "kubeconfig").write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "test", "cluster": {"server": api.url}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "nobody"}}],
                "users": [{"name": "nobody", "user": {"token": "any"}}],
                "current-context": "test",
            }
        )
    )
    hidden = (
        "import sys; sys.modules.update(dict.fromkeys(('structlog', 'httpx', 'grpc', 'pydantic_settings', 'uvloop')))"
    )
    words = [
        "retrain",
        "--token-file",
        str(tmp_path / "token"),
        "--namespace",
        NAMESPACE,
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ]
    program = f"{hidden}; sys.argv[1:] = {words}; from lading.cli.main import main; main()"
    environment = os.environ | {"KUBECONFIG": str(tmp_path / "kubeconfig")}
    with subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        try:
            said = ""
            while not (running := re.search(r"running on (http://[\d.:]+)", said)):
                said += (line := next(process.stderr, ""))
                assert line, said
            url = running[1]
            sent = httpx.post(f"{url}/alerts", json=notification(model="cards"), headers=BEARER)
            assert sent.json()["cards"].startswith("started"), sent.text
            httpx.post(f"{url}/alerts", json=notification(model="a\nb"), headers=BEARER)
            lines = [next(process.stderr), next(process.stderr)]
        finally:
            process.terminate()
    assert "INFO alert for 'cards': started retraining-cards-" in lines[0]
    assert r"alert for 'a\nb': skipped" in lines[1]


def test_alertmanager_retries_when_the_api_server_fails(receiver: Receiver, api: ApiServer) -> None:
    api.unavailable = 1
    answer = receiver.post("/alerts", json=notification(), headers=BEARER)
    assert answer.status_code == 500, "which Alertmanager repeats"
    assert "503" in answer.json()["error"]


def test_the_account_may_do_no_more_than_the_receiver_asks() -> None:
    role = next(one for one in yaml.safe_load_all((MANIFESTS / "account.yaml").read_text()) if one["kind"] == "Role")
    may = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert may == {("cronjobs", "list"), ("jobs", "list"), ("jobs", "create"), ("cronjobs/finalizers", "update")}


def test_the_candidate_is_gated_and_a_refusal_is_final() -> None:
    spec = CRONJOB["spec"]["jobTemplate"]["spec"]
    assert CRONJOB["spec"]["suspend"] is True
    pod = spec["template"]["spec"]
    assert [container["name"] for container in (*pod["initContainers"], *pod["containers"])] == ["train", "build"]
    refused = spec["podFailurePolicy"]["rules"][0]
    assert (refused["action"], refused["onExitCodes"]["values"]) == ("FailJob", [3])
