"""The whole loop on the cluster that KUBECONFIG names, without a person: the light changes, an alert says so, a
training reads what was collected, and what it made goes to canary and gets the requests.

The manifests are those of k8s/training/promotion and k8s/canary/base, with what a user changes. Real are the pods, the
receiver, Prometheus and Alertmanager; alerts wait a thirtieth of their time. What shares the requests by the route's
weights is this test, for a cluster need not have a gateway.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from lading.deploy.promotion import publish
from lading.monitoring.alerts import ALERT_GROUPS
from lading.monitoring.rules import shortened
from tests.e2e.cluster import prometheus
from tests.e2e.cluster.kube import ROOT, Release, wait_until
from tests.e2e.cluster.prometheus import Discovery
from tests.e2e.cluster.sink_pod import s3_variables, sink_objects
from tests.e2e.trainer_pods import (
    IMAGE as TRAINER,
)
from tests.e2e.trainer_pods import (
    NAMESPACE,
    TRAINING,
    forwarded,
    kubectl,
    model_volume,
    needs_trainer,
    tiny_config_map,
    tiny_model,
    training_volume,
    wait_for_job,
)
from tests.e2e.visitors import Visitors, weights_of
from tests.given.learned import made
from tests.given.tiny import SHADES, DimmedImage, WatchedImage
from tools.stack import prometheus_stack

SERVE = "serve"
IMAGE = os.environ.get("LADING_E2E_IMAGE", "")
LOAD = os.environ.get("LADING_E2E_LOAD_IMAGE", "")
SHORTER = 30
ALARM_S = 300.0
"""Windows fill in half a minute, and are looked at once a minute."""
SHORT = ("trainer.max_epochs=10", "optimizer.lr=0.03", "data.batch_size=64", "trainer.threads=1", "logger.wandb=false")
FIRES = 'ALERTS{alertname="LadingDrift",alertstate="firing"}'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (IMAGE and LOAD), reason="names no images (LADING_E2E_IMAGE, LADING_E2E_LOAD_IMAGE)"),
]


def promotion(folder: Path) -> Path:
    """What a user writes over the two kustomizations: images, the model, addresses, and the steps of the canary."""
    pod = "/spec/jobTemplate/spec/template/spec"
    bucket = [{"secretRef": {"name": "bucket"}}]
    retraining: list[dict[str, Any]] = [
        {"op": "replace", "path": "/metadata/labels/lading.dev~1model", "value": WatchedImage.name},
        model_volume(pod),
        {"op": "add", "path": f"{pod}/containers/0/envFrom", "value": bucket},
        {"op": "replace", "path": f"{pod}/containers/0/args/3", "value": "--to=s3://log/models"},
    ]
    for number in range(2):  # train, build
        container = f"initContainers/{number}"
        retraining += [
            *tiny_model(pod, container, "WatchedImage"),
            {"op": "replace", "path": f"{pod}/{container}/env/1/value", "value": WatchedImage.name},
            {"op": "replace", "path": f"{pod}/{container}/env/4/value", "value": "s3://log/payloads"},
            {"op": "add", "path": f"{pod}/{container}/envFrom", "value": bucket},
        ]
    retraining += [{"op": "add", "path": f"{pod}/initContainers/0/args/-", "value": word} for word in SHORT]
    canary: list[dict[str, Any]] = [
        {"op": "replace", "path": "/metadata/labels/lading.dev~1canary", "value": WatchedImage.name},
        *(
            {"op": "replace", "path": f"{pod}/containers/0/args/{place}", "value": word}
            for place, word in {
                5: f"--prometheus=http://prometheus.{SERVE}.svc:9090",
                6: "--steps=20,50",
                7: "--minutes=0.5",
                8: "--min-requests=50",
            }.items()
        ),
        {"op": "add", "path": f"{pod}/containers/0/args/-", "value": "--p99-ratio=5"},
    ]
    folder.mkdir()
    images = {"lading-trainer": TRAINER, "lading-load": LOAD}
    content = {
        "resources": [os.path.relpath(base, folder) for base in (TRAINING / "promotion", ROOT / "k8s/canary/base")],
        "configMapGenerator": [tiny_config_map(folder) | {"namespace": NAMESPACE}],
        "images": [
            {"name": name, "newName": image.rpartition(":")[0], "newTag": image.rpartition(":")[2]}
            for name, image in images.items()
        ],
        "patches": [
            {"target": {"kind": "CronJob", "name": "retraining-cards"}, "patch": json.dumps(retraining)},
            {"target": {"kind": "CronJob", "name": "cards-canary"}, "patch": json.dumps(canary)},
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


def release(name: str, uri: str, digest: str) -> Release:
    """One of both, as docs/drift.md asks for it: its artifact is fetched, and what it is asked goes into the log."""
    repository, _, tag = IMAGE.rpartition(":")
    values = {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
        "artifact": {"source": "fetch", "uri": uri, "digest": digest, "credentialsSecret": "bucket"},
        "extraEnvFrom": [{"secretRef": {"name": "bucket"}}],
        "service": {"type": "NodePort"},
        "bento": {"enabled": False},
        "replicaCount": 1,
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "shutdown": {"preStopSeconds": 2},
        "rollout": {"minReadySeconds": 1},
        "settings": {
            **{"payload_log": "s3://log/payloads", "payload_images": "files", "payload_rotate_s": 5},
            **{"feedback": 10000, "deadline_ms": 20000, "drift_per_second": 100, "grpc_connection_s": 1},
        },
    }
    one = Release(name, SERVE, values)
    one.upgrade()
    return one


def weights() -> dict[str, int]:
    return weights_of(json.loads(kubectl("-n", SERVE, "get", "httproute", "cards", "-o", "json")))


def asked(url: str, query: str) -> list[dict[str, str]]:
    """Labels of the series that a query finds."""
    answer = httpx.get(f"{url}/api/v1/query", params={"query": query}).json()
    return [series["metric"] for series in answer["data"]["result"]]


def jobs(namespace: str, label: str) -> list[str]:
    items = json.loads(kubectl("-n", namespace, "get", "jobs", "-l", label, "-o", "json"))["items"]
    return [job["metadata"]["name"] for job in items]


class Timeline:
    """Seconds from one step to the next."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self.lines: list[str] = []

    def reached(self, what: str) -> None:
        now = time.monotonic()
        self.lines.append(f"{now - self._start:6.0f} s ({now - self._last:+5.0f})  {what}")
        print(self.lines[-1], flush=True)
        self._last = now


def serve_secrets(token: str) -> None:
    """What the manifests say has to be there: the credentials of the bucket, and Alertmanager's token."""
    for namespace in (SERVE, NAMESPACE):
        variables = s3_variables(f"http://sink.{SERVE}.svc:9000")
        literals = [f"--from-literal={key}={word}" for key, word in variables.items()]
        kubectl("-n", namespace, "create", "secret", "generic", "bucket", *literals)
    kubectl("-n", NAMESPACE, "create", "secret", "generic", "retraining-token", f"--from-literal=token={token}")


def named_prometheus(url: str) -> None:
    """Give the Prometheus on this machine a name in the cluster."""
    host, _, port = url.removeprefix("http://").partition(":")
    labels = {"kubernetes.io/service-name": "prometheus"}
    ports = [{"name": "web", "port": int(port)}]
    for one in (
        {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"name": "web", "port": 9090}]}},
        {
            **{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"},
            **{"endpoints": [{"addresses": [host]}], "ports": ports},
        },
    ):
        named = {**one, "metadata": {"name": "prometheus", "labels": labels}}
        kubectl("-n", SERVE, "apply", "-f", "-", given=json.dumps(named))


@needs_trainer
@pytest.mark.timeout(2400)
def test_a_change_of_light_ends_in_a_promoted_model_that_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, times = uuid.uuid4().hex, Timeline()
    first = made(tmp_path / "first")
    times.reached("a first model is trained and built")
    with training_volume(tmp_path / "volume"), contextlib.ExitStack() as running:
        for namespace in (SERVE, NAMESPACE):
            kubectl("create", "namespace", namespace)
            running.callback(kubectl, "delete", "namespace", namespace, "--wait=true", "--timeout=120s")
        kubectl("label", "namespace", SERVE, "pod-security.kubernetes.io/enforce=restricted")
        serve_secrets(token)
        for one in sink_objects(IMAGE):
            kubectl("-n", SERVE, "apply", "-f", "-", given=json.dumps(one))
        kubectl("-n", SERVE, "wait", "--for=condition=Ready", "pod/sink", "--timeout=60s")
        with forwarded("svc/sink", 9000, SERVE) as address, monkeypatch.context() as credentials:
            for key, word in s3_variables(address).items():
                credentials.setenv(key, word)
            uri = publish(first, "s3://log/models")
        kubectl("apply", "-k", str(promotion(tmp_path / "promotion")))
        releases = {name: release(name, uri, first.digest) for name in ("cards-a", "cards-b")}
        kubectl("-n", NAMESPACE, "rollout", "status", "deployment/retraining", "--timeout=180s")
        discovery = running.enter_context(Discovery(tmp_path / "targets.json", *releases.values()))
        receiver = running.enter_context(forwarded("svc/retraining", 8070))
        stack = running.enter_context(
            prometheus_stack(
                tmp_path / "stack",
                {},
                shortened(ALERT_GROUPS, SHORTER),
                interval="2s",
                webhook=f"{receiver}/alerts",
                token=token,
                host=prometheus.HOST,
                discovered=discovery.file,
            )
        )
        named_prometheus(stack.prometheus)
        times.reached("two releases serve it; cards-a has the requests")

        visitors = running.enter_context(Visitors({name: one.url for name, one in releases.items()}, weights))
        scored = 'lading_drift_score{pod=~"cards-a-.*"}'
        wait_until("a first full window has a score", lambda: asked(stack.prometheus, scored), ALARM_S)
        assert not asked(stack.prometheus, f"{scored} > on (pod, model, feature, test) lading_drift_threshold")
        assert not jobs(NAMESPACE, "lading.dev/model")
        before = visitors.accuracy("cards-a")
        times.reached("a full window of requests has not drifted")

        visitors.spec = DimmedImage()
        wait_until("an alert started a training", lambda: jobs(NAMESPACE, "lading.dev/model"), ALARM_S)
        (started,) = jobs(NAMESPACE, "lading.dev/model")
        changed = visitors.accuracy("cards-a")
        times.reached("the light is at 45 %, and the alert has started a training")
        wait_for_job(started)
        times.reached("it is trained on the log, has passed the gates, and is promoted")
        wait_until("the canary's Job is there", lambda: jobs(SERVE, "lading.dev/canary"), 10)
        (moving,) = jobs(SERVE, "lading.dev/canary")
        wait_for_job(moving, SERVE)
        times.reached("cards-b has the candidate and all requests")
        said = kubectl("-n", SERVE, "logs", f"job/{moving}", "--all-containers")
        assert weights() == {"cards-a": 0, "cards-b": 100}

        visitors.accuracy("cards-b")
        scored = 'lading_drift_score{pod=~"cards-b-.*"}'
        wait_until("the new model's window has a score", lambda: asked(stack.prometheus, scored), ALARM_S)
        after = visitors.accuracy("cards-b")
        assert not asked(stack.prometheus, f"{scored} > on (pod, model, feature, test) lading_drift_threshold")
        assert asked(stack.prometheus, FIRES), "the old release's scores are still there"
        kubectl("-n", SERVE, "scale", "deployment/cards-a", "--replicas=0")
        wait_until("the alert resolved", lambda: not asked(stack.prometheus, FIRES), ALARM_S)
        times.reached("a full window of the new model has not drifted, and the alert has resolved")
        served = httpx.get(f"{releases['cards-b'].url}/v2/models/{WatchedImage.name}").json()
    print(f"\n{said}")
    print("\n".join(times.lines))
    print(f"{' or '.join(SHADES)}: {before:.3f}, with less light {changed:.3f}, told by the next model {after:.3f}")
    assert served["parameters"]["digest"] != first.digest
    assert changed < before - 0.2
    assert after > 0.9
