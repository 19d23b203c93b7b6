"""The whole loop on the cluster that KUBECONFIG names: the light changes, an alert says so, a training is started, and
what it made goes to canary and replaces the model that the light had changed under.

Real are the pods of both releases and of the training, Prometheus, Alertmanager, the receiver and `lading canary`.
Alerts wait a thirtieth of their time. What shares the requests by the route's weights is this test, for a cluster need
not have a gateway.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import httpx
import numpy as np
import pytest

from lading.monitoring.alerts import ALERT_GROUPS
from lading.monitoring.rules import shortened
from tests.e2e.cluster.kube import HOST, Release, wait_until
from tests.e2e.trainer_pods import (
    NAMESPACE,
    TRAINING,
    forwarded,
    kubectl,
    listening,
    model_volume,
    more_arguments,
    needs_trainer,
    overlay,
    tiny_model,
    training_volume,
    wait_for_job,
)
from tests.given.tiny import SHADES, DimmedImage, WatchedImage
from tools.stack import prometheus_stack

SHORTER = 30
IMAGE = os.environ.get("LADING_E2E_IMAGE", "")
ALARM_S = 240.0
"""Windows fill in half a minute, and are looked at once a minute."""
PROMOTED = ("--steps=20,50", "--minutes=0.5", "--min-requests=100", "--p99-ratio=5", "--min-agreement=0")
ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "tiny"},
    "spec": {
        "rules": [
            {
                "backendRefs": [
                    {"name": "tiny-a", "port": 8080, "weight": 100},
                    {"name": "tiny-b", "port": 8080, "weight": 0},
                ]
            }
        ]
    },
}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not IMAGE, reason="names no image (LADING_E2E_IMAGE)")]


class Visitors:
    """People who send pictures, forty a second, to whichever release the route gives them to."""

    def __init__(self, releases: dict[str, str]) -> None:
        self.spec: WatchedImage = WatchedImage()
        self._urls = releases
        self._weights = weights()
        self._right = {name: [0, 0] for name in releases}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._send, self._look)]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def accuracy(self, release: str) -> float:
        """How often a release told the shade since it was asked for last."""
        right, asked = self._right[release]
        self._right[release] = [0, 0]
        return right / asked

    def _look(self) -> None:
        while not self._over.wait(2):
            self._weights = weights()

    def _send(self) -> None:
        rng = np.random.default_rng(7)
        with httpx.Client(timeout=30) as client:
            while not self._over.wait(0.025):
                names, shares = zip(*self._weights.items(), strict=True)
                name = str(rng.choice(names, p=np.array(shares) / sum(shares)))
                ((inputs, truth),) = self.spec.pictures(1, int(rng.integers(1 << 31)))
                body = {"image": inputs["image"][None].tolist()}
                answer = client.post(f"{self._urls[name]}/predict", json=body)
                assert answer.status_code == 200, answer.text
                told = int(np.argmax(answer.json()["outputs"]["shade"][0]))
                count = self._right[name]
                count[0] += told == int(truth["shade"])
                count[1] += 1


def weights() -> dict[str, int]:
    route = json.loads(kubectl("-n", NAMESPACE, "get", "httproute", "tiny", "-o", "json"))
    return {one["name"]: one["weight"] for one in route["spec"]["rules"][0]["backendRefs"]}


def release(name: str, artifact: str) -> Release:
    repository, _, tag = IMAGE.rpartition(":")
    values = {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
        "artifact": {"source": "volume", "claimName": "training-output", "path": artifact},
        "service": {"type": "NodePort"},
        "bento": {"enabled": False},
        "replicaCount": 1,
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "shutdown": {"preStopSeconds": 2},
        "rollout": {"minReadySeconds": 1},
        "settings": {"deadline_ms": 20000, "drift_per_second": 100},
    }
    made = Release(name, NAMESPACE, values)
    made.upgrade()
    return made


def template(folder: Path) -> Path:
    """The CronJob of the retraining, for the tiny model; its training is asked for by name, as the cards model's is."""
    pod = "/spec/jobTemplate/spec/template/spec"
    return overlay(
        folder,
        TRAINING / "retraining",
        "CronJob",
        [
            {"op": "replace", "path": "/metadata/labels/lading.dev~1model", "value": WatchedImage.name},
            *tiny_model(pod, "initContainers/0", "WatchedImage"),
            *more_arguments(pod, "initContainers/0", "trainer.max_epochs=15"),
            *tiny_model(pod, "containers/0", "WatchedImage"),
            model_volume(pod),
            *(
                {"op": "replace", "path": f"{pod}/{container}/0/env/1/value", "value": WatchedImage.name}
                for container in ("initContainers", "containers")
            ),
        ],
    )


def train_on_dimmed_pictures_from_now_on() -> None:
    """What a person does when newer data are there: the template reads them."""
    pod = "/spec/jobTemplate/spec/template/spec"
    patch = [
        {"op": "replace", "path": f"{pod}/{container}/0/env/0/value", "value": "/model/tiny.py:DimmedImage"}
        for container in ("initContainers", "containers")
    ]
    kubectl("-n", NAMESPACE, "patch", "cronjob", "retraining-cards", "--type=json", "-p", json.dumps(patch))


def asked(prometheus: str, query: str) -> list[dict[str, str]]:
    """Labels of the series that a query finds."""
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}).json()
    return [series["metric"] for series in answer["data"]["result"]]


def jobs() -> set[str]:
    items = json.loads(kubectl("-n", NAMESPACE, "get", "jobs", "-l", "lading.dev/model", "-o", "json"))["items"]
    return {job["metadata"]["name"] for job in items}


@needs_trainer
def test_a_change_of_light_ends_in_a_promoted_model_that_knows_it(tmp_path: Path) -> None:
    token = uuid.uuid4().hex
    with training_volume(tmp_path / "volume"), contextlib.ExitStack() as running:
        running.callback(kubectl, "delete", "namespace", NAMESPACE, "--wait=true", "--timeout=120s")
        kubectl("apply", "-k", str(TRAINING / "base"))
        kubectl("-n", NAMESPACE, "create", "secret", "generic", "retraining-token", f"--from-literal=token={token}")
        kubectl("apply", "-k", str(template(tmp_path / "retraining")))
        kubectl("-n", NAMESPACE, "create", "job", "first", "--from=cronjob/retraining-cards")
        wait_for_job("first")
        train_on_dimmed_pictures_from_now_on()

        # Both stand; one has the requests.
        releases = {name: release(name, "first/artifact") for name in ("tiny-a", "tiny-b")}
        urls = {name: one.url for name, one in releases.items()}
        kubectl("-n", NAMESPACE, "apply", "-f", "-", given=json.dumps(ROUTE))
        address = running.enter_context(forwarded("svc/retraining", 8070))
        targets = {name: f"{HOST}:{one.node_port('http')}" for name, one in releases.items()}
        stack = running.enter_context(
            prometheus_stack(
                tmp_path / "stack",
                {NAMESPACE: list(targets.values())},
                shortened(ALERT_GROUPS, SHORTER),
                interval="2s",
                webhook=f"{address}/alerts",
                token=token,
            )
        )
        visitors = running.enter_context(Visitors(urls))
        scored = f'lading_drift_score{{instance="{targets["tiny-a"]}"}}'
        wait_until("a first full window has a score", lambda: asked(stack.prometheus, scored), ALARM_S)
        fires = 'ALERTS{alertname="LadingDrift",alertstate="firing"}'
        assert not asked(stack.prometheus, f"{scored} > on (model, feature, test) lading_drift_threshold")
        assert not jobs()
        before = visitors.accuracy("tiny-a")

        visitors.spec = DimmedImage()
        wait_until("an alert started a training", jobs, ALARM_S)
        (started,) = jobs()
        changed = visitors.accuracy("tiny-a")
        found = sorted({one["feature"] for one in asked(stack.prometheus, fires)})
        wait_for_job(started)

        # A person looks at the candidate, and gives it a part of the requests.
        releases["tiny-b"].values["artifact"]["path"] = f"{started}/artifact"
        releases["tiny-b"].upgrade()
        said = subprocess.run(
            [
                *(sys.executable, "-m", "lading", "canary", "tiny-a", "tiny-b", "--route=httproutes/tiny"),
                *(
                    f"--namespace={NAMESPACE}",
                    f"--api={running.enter_context(listening('proxy', '--port=0'))}",
                    *PROMOTED,
                ),
                *(f"--prometheus={stack.prometheus}", f"--stable-url={urls['tiny-a']}"),
                *(f"--canary-url={urls['tiny-b']}", f'--stable-selector=instance="{targets["tiny-a"]}"'),
                f'--canary-selector=instance="{targets["tiny-b"]}"',
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 0, said.stdout + said.stderr
        assert weights() == {"tiny-a": 0, "tiny-b": 100}

        visitors.accuracy("tiny-b")
        kubectl("-n", NAMESPACE, "scale", "deployment/tiny-a", "--replicas=0")
        scored = f'lading_drift_score{{instance="{targets["tiny-b"]}"}}'
        wait_until("the new model's window has a score", lambda: asked(stack.prometheus, scored), ALARM_S)
        wait_until("the alert resolved", lambda: not asked(stack.prometheus, fires), ALARM_S)
        after = visitors.accuracy("tiny-b")
    print(f"\n{said.stdout}drifted: {', '.join(found)}")
    print(f"{' or '.join(SHADES)}: {before:.3f}, with less light {changed:.3f}, told by the next model {after:.3f}")
    assert changed < before - 0.2
    assert after > 0.9
