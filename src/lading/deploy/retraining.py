"""Receives Alertmanager's notifications, and starts training Jobs.

A Job comes from the template of a suspended CronJob with the model's name as its label, as with
``kubectl create job --from=cronjob/NAME``. So a person decides beforehand what may start, and the receiver only when.
"""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lading.deploy.kubernetes import Cluster, Kind, Object
from lading.errors import LadingError
from lading.protocol.json_body import parse_object

log = logging.getLogger("lading.retraining")
MODEL_LABEL = "lading.dev/model"
CRONJOBS = Kind("batch", "v1", "cronjobs")
JOBS = Kind("batch", "v1", "jobs")
LARGEST_BODY = 1 << 20
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class Retraining:
    """Starts a training Job for a model whose alert fires.

    Args:
        cluster: where the Jobs run.
        namespace: of the CronJobs and Jobs.
        every_s: minimum seconds between two starts for one model.
        alerts: names of the alerts that start a Job.
    """

    def __init__(self, cluster: Cluster, namespace: str, every_s: float, alerts: Sequence[str]) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._every_s = every_s
        self._alerts = tuple(alerts)

    def receive(self, notification: Mapping[str, Any]) -> dict[str, str]:
        """Read one notification of Alertmanager (version 4), and return what was done, by model.

        Raises:
            KubernetesError: the API server did not do it. Alertmanager sends the notification again.
        """
        models: dict[str, Mapping[str, Any]] = {}
        for alert in notification.get("alerts") or ():
            labels = alert.get("labels") or {}
            if alert.get("status") == "firing" and labels.get("alertname") in self._alerts:
                models.setdefault(str(labels.get("model", "")), alert)
        return {model: self._start(model, alert) for model, alert in models.items()}

    def _start(self, model: str, alert: Mapping[str, Any]) -> str:
        if not _LABEL_VALUE.fullmatch(model):
            return "skipped: not a valid model name"
        selector = f"{MODEL_LABEL}={model}"
        templates = self._cluster.select(CRONJOBS, self._namespace, selector)
        if not templates:
            return f"skipped: no CronJob has the label {selector}"
        for job in self._cluster.select(JOBS, self._namespace, selector):
            name = job["metadata"]["name"]
            if not _ended(job):
                return f"skipped: {name} is running"
            since = datetime.fromisoformat(job["metadata"]["creationTimestamp"]).timestamp()
            if time.time() - since < self._every_s:
                return f"skipped: {name} was started within {self._every_s / 3600:g} hours"
        job = job_from_template(templates[0], model, alert, int(time.time() // self._every_s))
        name = job["metadata"]["name"]
        if self._cluster.create(JOBS, self._namespace, job):
            return f"started {name}"
        return f"skipped: {name} exists"  # another replica received the same alert


def _ended(job: Object) -> bool:
    conditions = job.get("status", {}).get("conditions") or ()
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)


def job_from_template(template: Object, model: str, alert: Mapping[str, Any], number: int) -> Object:
    """The Job of a CronJob's template, owned by the CronJob. ``number`` ends its name.

    The number counts periods, so that two replicas choose the same name and only one of them creates the Job.
    """
    cronjob, job = template["metadata"], template["spec"]["jobTemplate"]
    metadata = job.get("metadata") or {}
    annotations = {
        "lading.dev/alert": str(alert.get("fingerprint", "")),
        "cronjob.kubernetes.io/instantiate": "manual",
    }
    owner = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "controller": True,
        "name": cronjob["name"],
        "uid": cronjob["uid"],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{cronjob['name'][:40]}-{number}",
            "labels": {**(metadata.get("labels") or {}), MODEL_LABEL: model},
            "annotations": {**(metadata.get("annotations") or {}), **annotations},
            "ownerReferences": [owner],
        },
        "spec": job["spec"],
    }


def retraining_app(retraining: Retraining, token: str) -> Starlette:
    """``POST /alerts`` with the bearer token that Alertmanager sends, and probes."""

    async def receive(request: Request) -> Response:
        sent = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(sent, f"Bearer {token}".encode()):
            return JSONResponse({"error": "the bearer token is missing or wrong"}, 401)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                return JSONResponse({"error": f"a notification has at most {LARGEST_BODY} bytes"}, 413)
        try:
            done = await run_in_threadpool(
                retraining.receive, parse_object(body, "Alertmanager's notification as JSON")
            )
        except LadingError as error:
            log.warning("the alerts started no Job: %s", error)
            return JSONResponse({"error": str(error)}, error.status)
        except (AttributeError, TypeError) as error:
            return JSONResponse({"error": f"not a notification of Alertmanager: {error}"}, 400)
        for model, result in done.items():
            log.info("alert for %r: %s", model, result)
        return JSONResponse(done)

    async def alive(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    return Starlette(
        routes=[Route("/alerts", receive, methods=["POST"]), Route("/livez", alive), Route("/readyz", alive)]
    )
