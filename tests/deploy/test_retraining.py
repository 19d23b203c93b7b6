"""Alertmanager's webhook starts the Job that somebody prepared, once in a while, and nothing else."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml
from starlette.applications import Starlette

from lading.deploy.retraining import MODEL_LABEL, Cluster, Retraining, retraining_app
from lading.errors import SettingsError

MANIFESTS = Path(__file__).parents[2] / "k8s" / "training" / "retraining"
CRONJOB = yaml.safe_load((MANIFESTS / "cronjob.yaml").read_text())
TOKEN = "of-alertmanager"
BEARER = {"authorization": f"Bearer {TOKEN}"}


class ApiServer(ThreadingHTTPServer):
    """As much of the batch API as the account may use."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ApiHandler)
        self.jobs: dict[str, Any] = {}
        self.broken = False


class ApiHandler(BaseHTTPRequestHandler):
    server: ApiServer

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        (selector,) = parse_qs(where.query)["labelSelector"]
        kept = (
            [self._cronjob()] if where.path.endswith("/namespaces/training/cronjobs") else [*self.server.jobs.values()]
        )
        name, _, value = selector.partition("=")
        self._answer(200, {"items": [one for one in kept if one["metadata"]["labels"].get(name) == value]})

    def do_POST(self) -> None:
        job = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = job["metadata"]["name"]
        if name in self.server.jobs:
            self._answer(409, {"reason": "AlreadyExists"})
            return
        job["metadata"]["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.server.jobs[name] = job
        self._answer(201, job)

    @staticmethod
    def _cronjob() -> dict[str, Any]:
        return {**CRONJOB, "metadata": {**CRONJOB["metadata"], "uid": "0-1-2"}}

    def _answer(self, code: int, body: dict[str, Any]) -> None:
        if self.headers["authorization"] != "Bearer of-the-account":
            code = 401
        self.send_response(503 if self.server.broken else code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[ApiServer]:
    server = ApiServer()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


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
def receiver(api: ApiServer, tmp_path: Path) -> Receiver:
    (tmp_path / "token").write_text("of-the-account\n")
    cluster = Cluster(f"http://127.0.0.1:{api.server_port}", tmp_path / "token", None)
    return Receiver(retraining_app(Retraining(cluster, "training", 3600, ["LadingDrift"]), TOKEN))


def told(*, model: str = "cards", name: str = "LadingDrift", status: str = "firing") -> dict[str, Any]:
    """As Alertmanager tells it, version 4."""
    alert = {
        "status": status,
        "labels": {"alertname": name, "model": model, "namespace": "prod", "severity": "warning"},
        "annotations": {},
        "startsAt": "2026-11-24T03:00:00Z",
        "fingerprint": "abc",
    }
    return {"version": "4", "status": status, "receiver": "retraining", "alerts": [alert]}


def test_drift_starts_the_job_of_the_models_cronjob(receiver: Receiver, api: ApiServer) -> None:
    said = receiver.post("/alerts", json=told(), headers=BEARER).json()
    ((name, job),) = api.jobs.items()
    assert said == {"cards": f"started {name}"}
    assert job["spec"] == CRONJOB["spec"]["jobTemplate"]["spec"]
    assert job["metadata"]["labels"][MODEL_LABEL] == "cards"
    assert job["metadata"]["annotations"]["lading.dev/alert"] == "abc"
    assert job["metadata"]["ownerReferences"][0]["uid"] == "0-1-2"


def test_what_runs_or_ran_of_late_is_not_started_again(receiver: Receiver, api: ApiServer) -> None:
    def again() -> str:
        return str(receiver.post("/alerts", json=told(), headers=BEARER).json()["cards"])

    again()
    (job,) = api.jobs.values()
    assert again().endswith("runs")
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert "was started within 1 hours" in again()
    past = datetime.now(UTC) - timedelta(hours=2)
    job["metadata"]["creationTimestamp"] = past.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert again().endswith("is there"), "two replicas agree on a name"
    api.jobs["older"] = api.jobs.pop(job["metadata"]["name"])
    assert again().startswith("started")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "resolved"}, {}),
        ({"name": "LadingShedding"}, {}),
        ({"model": "other"}, {"other": f"left: no CronJob has the label {MODEL_LABEL}=other"}),
        ({"model": "a,b in (c)"}, {"a,b in (c)": "left: this is no model's name"}),
    ],
)
def test_nothing_else_starts_one(
    receiver: Receiver, api: ApiServer, changes: dict[str, str], said: dict[str, str]
) -> None:
    assert receiver.post("/alerts", json=told(**changes), headers=BEARER).json() == said
    assert not api.jobs


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer other"}, {"authorization": TOKEN}])
def test_who_has_no_token_starts_nothing(receiver: Receiver, api: ApiServer, headers: dict[str, str]) -> None:
    assert receiver.post("/alerts", json=told(), headers=headers).status_code == 401
    assert not api.jobs


@pytest.mark.parametrize(
    ("body", "code"), [(b"[]", 400), (b"{", 400), (b'{"alerts": [1]}', 400), (b" " * 2_000_000, 413)]
)
def test_what_is_no_notification_is_refused(receiver: Receiver, body: bytes, code: int) -> None:
    assert receiver.post("/alerts", content=body, headers=BEARER).status_code == code


def test_alertmanager_is_told_to_try_again_when_the_api_server_fails(receiver: Receiver, api: ApiServer) -> None:
    api.broken = True
    answer = receiver.post("/alerts", json=told(), headers=BEARER)
    assert answer.status_code == 500, "which Alertmanager repeats"
    assert "503" in answer.json()["error"]


def test_outside_a_pod_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(SettingsError, match="this is no pod"):
        Cluster.of_this_pod()


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
