"""What Helm and the Kubernetes API know about one release."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lading.deploy.kubernetes import PODS, Cluster, Kind, Object
from lading.errors import KubernetesError

SECRETS = Kind("", "v1", "secrets")
CONFIG_MAPS = Kind("", "v1", "configmaps")
CLAIMS = Kind("", "v1", "persistentvolumeclaims")
EVENTS = Kind("", "v1", "events")
DEPLOYMENTS = Kind("apps", "v1", "deployments")
INFERENCE_SERVICES = Kind("serving.kserve.io", "v1beta1", "inferenceservices")
OWNED = {
    "Deployment": DEPLOYMENTS,
    "ReplicaSet": Kind("apps", "v1", "replicasets"),
    "Pod": PODS,
    "HorizontalPodAutoscaler": Kind("autoscaling", "v2", "horizontalpodautoscalers"),
    "ScaledObject": Kind("keda.sh", "v1alpha1", "scaledobjects"),
    "InferenceService": INFERENCE_SERVICES,
}
"""Kinds that carry the release's name as a label and say how they are."""
LINES = 60
"""Lines of a container's log."""


@dataclass
class Evidence:
    """Objects and texts, as the API has them. It is plain data, so a recorded one is JSON."""

    release: str
    namespace: str
    revisions: list[Object] = field(default_factory=list)
    """Helm's records, the newest last: ``version``, and ``info`` with status and description."""
    objects: list[Object] = field(default_factory=list)
    events: list[Object] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    """Last lines, by ``POD/CONTAINER``."""
    missing: dict[str, list[str]] = field(default_factory=dict)
    """By pod: what it names and the namespace does not have, such as ``secret keys``."""
    unreadable: list[str] = field(default_factory=list)
    """What this account may not read."""

    def of(self, kind: str) -> list[Object]:
        """The objects of one kind."""
        return [one for one in self.objects if one["kind"] == kind]


def read_evidence(cluster: Cluster, namespace: str, release: str) -> Evidence:
    """Ask the API for everything that belongs to a release.

    Raises:
        KubernetesError: the API server does not answer. What the account may not read is listed in the evidence.
    """
    found = Evidence(release, namespace)

    def listed(kind: Kind, labels: str = "") -> list[Object]:
        try:
            return cluster.select(kind, namespace, labels)
        except KubernetesError as error:
            if error.answered not in (403, 404):
                raise
            if error.answered == 403:  # 404: the cluster does not have this kind
                found.unreadable.append(kind.plural)
            return []

    secrets = listed(SECRETS, f"owner=helm,name={release}")
    found.revisions = sorted((_helm_record(secret) for secret in secrets), key=lambda one: int(one["version"]))
    for name, kind in OWNED.items():
        found.objects += [{"kind": name, **one} for one in listed(kind, f"app.kubernetes.io/instance={release}")]
    found.events = [event for event in listed(EVENTS) if _is_of(event, found)]
    for pod in found.of("Pod"):
        if not is_ready(pod):
            found.logs |= _logs(cluster, namespace, pod)
            if absent := _absent(cluster, namespace, pod):
                found.missing[pod["metadata"]["name"]] = absent
    return found


def is_ready(pod: Object) -> bool:
    """The pod is ready, or has done its work."""
    status = pod.get("status", {})
    conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
    return status.get("phase") == "Succeeded" or conditions.get("Ready") == "True"


def containers(pod: Object) -> Iterator[tuple[Object, Object, bool]]:
    """The spec and the status of each container that has a status, and whether it is an init container."""
    spec, status = pod["spec"], pod.get("status", {})
    for field_, init in (("initContainer", True), ("container", False)):
        specs = {one["name"]: one for one in spec.get(f"{field_}s", [])}
        for one in status.get(f"{field_}Statuses", []):
            yield specs.get(one["name"], {}), one, init


def _helm_record(secret: Object) -> Object:
    """One revision: base64 by Kubernetes, base64 and gzip by Helm. Manifests and values are left out."""
    try:
        record = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
        info = {key: record["info"].get(key, "") for key in ("status", "description", "last_deployed")}
        return {"version": record["version"], "info": info}
    except (KeyError, ValueError, OSError):
        labels = secret["metadata"].get("labels", {})
        return {
            "version": labels.get("version", "0"),
            "info": {"status": labels.get("status", "unknown"), "description": ""},
        }


def _is_of(event: Object, found: Evidence) -> bool:
    """The event is about an object of the release, or about a pod of its ReplicaSets that is gone."""
    about = event["involvedObject"]
    kind, name = about.get("kind", ""), about.get("name", "")
    if any(one["kind"] == kind and one["metadata"]["name"] == name for one in found.objects):
        return True
    sets = [one["metadata"]["name"] for one in found.of("ReplicaSet")]
    return kind == "Pod" and name.rpartition("-")[0] in sets


def _logs(cluster: Cluster, namespace: str, pod: Object) -> dict[str, str]:
    name = pod["metadata"]["name"]
    found = {}
    for _, status, _ in containers(pod):
        state, last = status.get("state", {}), status.get("lastState", {})
        if not state.get("running") and not state.get("terminated") and not last:
            continue
        previous = "waiting" in state
        try:
            text = cluster.log(namespace, name, status["name"], lines=LINES, previous=previous)
        except KubernetesError as error:
            if error.answered is None:
                raise
            continue  # the log of a container that is gone, or of a node that does not answer
        found[f"{name}/{status['name']}"] = text
    return found


def _absent(cluster: Cluster, namespace: str, pod: Object) -> list[str]:
    """Secrets, ConfigMaps and claims, and keys in them, that the pod needs and the namespace does not have."""
    absent = []
    for what, kind, name, keys in sorted(_needed(pod["spec"]), key=lambda one: one[:3]):
        try:
            one = cluster.read(kind, namespace, name)
        except KubernetesError as error:
            if error.answered is None:
                raise
            if error.answered == 404:
                absent.append(f"{what} {name}")
            continue
        there = {*(one.get("data") or {}), *(one.get("binaryData") or {})}
        absent += [f"key {key} in the {what} {name}" for key in keys if key not in there]
    return list(dict.fromkeys(absent))


def _needed(spec: Object) -> Iterator[tuple[str, Kind, str, list[str]]]:
    """What a pod cannot start without, in the words of Kubernetes, with the keys that it names."""

    def named(kind: str, source: Any, key: str = "name") -> Iterator[tuple[str, Kind, str, list[str]]]:
        if source and not source.get("optional") and source.get(key):
            keys = [item["key"] for item in source.get("items", [])]
            keys += [source["key"]] if "key" in source else []
            yield (
                kind,
                {"secret": SECRETS, "configmap": CONFIG_MAPS, "persistentvolumeclaim": CLAIMS}[kind],
                source[key],
                keys,
            )

    for volume in spec.get("volumes", []):
        yield from named("secret", volume.get("secret"), "secretName")
        yield from named("configmap", volume.get("configMap"))
        yield from named("persistentvolumeclaim", volume.get("persistentVolumeClaim"), "claimName")
        for source in (volume.get("projected") or {}).get("sources", []):
            yield from named("secret", source.get("secret"))
            yield from named("configmap", source.get("configMap"))
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        for source in container.get("envFrom", []):
            yield from named("secret", source.get("secretRef"))
            yield from named("configmap", source.get("configMapRef"))
        for variable in container.get("env", []):
            source = variable.get("valueFrom") or {}
            yield from named("secret", source.get("secretKeyRef"))
            yield from named("configmap", source.get("configMapKeyRef"))
