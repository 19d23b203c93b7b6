"""Alertmanager's webhook to a training Job: what an alert on drift may start, once in a while and no more.

What is started is a person's decision made beforehand: the template of a suspended CronJob that carries the model's
name as its label, as ``kubectl create job --from=cronjob/NAME`` would. The receiver can start it and nothing else.
"""

from __future__ import annotations

import hmac
import os
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lading.errors import LadingError, ServerError, SettingsError
from lading.protocol.json_values import parse_object

log = structlog.get_logger("lading.retraining")
MODEL_LABEL = "lading.dev/model"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LARGEST_BODY = 1 << 20
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Cluster:
    """The API server, as one account sees it.

    Args:
        url: of the API server.
        token: the file of the account's token, which the kubelet renews.
        authority: the certificate authority's file.
    """

    url: str
    token: Path
    authority: Path | None

    @classmethod
    def of_this_pod(cls) -> Cluster:
        """Raises SettingsError outside a pod, or where its account's token is not mounted."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if host is None or not (ACCOUNT / "token").is_file():
            raise SettingsError("this is no pod with a service account's token: k8s/training/retraining runs it as one")
        shown = f"[{host}]" if ":" in host else host
        return cls(f"https://{shown}:{port}", ACCOUNT / "token", ACCOUNT / "ca.crt")

    def ask(self, method: str, path: str, **what: Any) -> httpx.Response:
        """One request.

        Raises:
            ServerError: the API server does not answer, or refuses (but for a conflict, 409).
        """
        headers = {"authorization": f"Bearer {self.token.read_text().strip()}"}
        verify = True if self.authority is None else ssl.create_default_context(cafile=str(self.authority))
        try:
            with httpx.Client(base_url=self.url, verify=verify, headers=headers, timeout=10) as client:
                answer = client.request(method, path, **what)
        except httpx.HTTPError as error:
            raise ServerError(f"the API server at {self.url} does not answer: {error}") from None
        if answer.is_error and answer.status_code != httpx.codes.CONFLICT:
            raise ServerError(f"the API server refuses {method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer


class Retraining:
    """Starts Jobs.

    Args:
        cluster: where.
        namespace: of the CronJobs and Jobs.
        every_s: least seconds between two starts for one model.
        alerts: names of those that start one.
    """

    def __init__(self, cluster: Cluster, namespace: str, every_s: float, alerts: Sequence[str]) -> None:
        self._cluster, self._every_s, self._alerts = cluster, every_s, tuple(alerts)
        self._path = f"/apis/batch/v1/namespaces/{namespace}"

    def take(self, notification: Mapping[str, Any]) -> dict[str, str]:
        """Read one notification of Alertmanager (version 4); returns what was done, by model.

        Raises:
            ServerError: the API server did not do it; Alertmanager tells again.
        """
        models: dict[str, Mapping[str, Any]] = {}
        for alert in notification.get("alerts") or ():
            labels = alert.get("labels") or {}
            if alert.get("status") == "firing" and labels.get("alertname") in self._alerts:
                models.setdefault(str(labels.get("model", "")), alert)
        return {model: self._start(model, alert) for model, alert in models.items()}

    def _start(self, model: str, alert: Mapping[str, Any]) -> str:
        if not _LABEL_VALUE.fullmatch(model):
            return "left: this is no model's name"
        selector = {"labelSelector": f"{MODEL_LABEL}={model}"}
        templates = self._cluster.ask("GET", f"{self._path}/cronjobs", params=selector).json()["items"]
        if not templates:
            return f"left: no CronJob has the label {MODEL_LABEL}={model}"
        jobs = self._cluster.ask("GET", f"{self._path}/jobs", params=selector).json()["items"]
        for job in jobs:
            conditions = job.get("status", {}).get("conditions") or ()
            if not any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions):
                return f"left: {job['metadata']['name']} runs"
            since = datetime.fromisoformat(job["metadata"]["creationTimestamp"]).timestamp()
            if time.time() - since < self._every_s:
                return f"left: {job['metadata']['name']} was started within {self._every_s / 3600:g} hours"
        made = job_of(templates[0], model, alert, int(time.time() // self._every_s))
        answer = self._cluster.ask("POST", f"{self._path}/jobs", json=made)
        name = made["metadata"]["name"]
        # Another replica was told of the same alert.
        return f"left: {name} is there" if answer.status_code == httpx.codes.CONFLICT else f"started {name}"


def job_of(template: Mapping[str, Any], model: str, alert: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The Job of a CronJob's template, belonging to it; its name is that of the time, so that two replicas agree."""
    meta, wanted = template["metadata"], template["spec"]["jobTemplate"]
    given = wanted.get("metadata") or {}
    told = {"lading.dev/alert": str(alert.get("fingerprint", "")), "cronjob.kubernetes.io/instantiate": "manual"}
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "controller": True}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{meta['name'][:40]}-{number}",
            "labels": {**(given.get("labels") or {}), MODEL_LABEL: model},
            "annotations": {**(given.get("annotations") or {}), **told},
            "ownerReferences": [owner | {"name": meta["name"], "uid": meta["uid"]}],
        },
        "spec": wanted["spec"],
    }


def retraining_app(retraining: Retraining, token: str) -> Starlette:
    """``POST /alerts`` with a bearer token, as Alertmanager sends it, and probes."""

    async def take(request: Request) -> Response:
        sent = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(sent, f"Bearer {token}".encode()):
            return JSONResponse({"error": "no token, or another one"}, 401)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                return JSONResponse({"error": f"a notification has at most {LARGEST_BODY} bytes"}, 413)
        try:
            done = await run_in_threadpool(retraining.take, parse_object(body))
        except LadingError as error:
            log.warning("an alert started nothing", error=str(error))
            return JSONResponse({"error": str(error)}, error.status)
        except (AttributeError, TypeError) as error:
            return JSONResponse({"error": f"this is no notification of Alertmanager: {error}"}, 400)
        log.info("alerts", **{model or "none": said for model, said in done.items()})
        return JSONResponse(done)

    async def alive(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    return Starlette(routes=[Route("/alerts", take, methods=["POST"]), Route("/livez", alive), Route("/readyz", alive)])
