"""Releases that cannot serve, each for another cause: values of the chart, and the cause that `lading why` names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NOWHERE = {"image": {"repository": "nowhere.invalid/cards", "tag": "1", "pullPolicy": "Never"}}
"""An image that no node has, so that the container never starts: the cause comes before."""
SMALL = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "250m", "memory": "512Mi"}}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True)
class BadRelease:
    """One release."""

    name: str
    """Also its Helm release."""
    cause: tuple[str, ...]
    """The cause; several where it depends on the cluster."""
    values: dict[str, Any] = field(default_factory=dict)
    too: tuple[str, ...] = ("image-not-on-node",)
    """What may be named next to it, because the image is absent on purpose."""
    starts: bool = False
    """It needs an image of the server that the nodes have."""
    rules: bool = False
    """It belongs into the namespace with a quota, a limit and a policy."""
    full: bool = False
    """Takes long: its container has to fail after it started."""


def _resources(**requests: str) -> dict[str, Any]:
    return {"requests": SMALL["requests"] | requests, "limits": {**SMALL["limits"], **requests}}


BAD_RELEASES = (
    BadRelease("no-image", ("image-not-on-node",), NOWHERE),
    BadRelease(
        "no-registry",
        ("registry-unreachable", "registry-login", "image-absent"),
        {"image": {"repository": "localhost:1/cards", "tag": "1", "pullPolicy": "IfNotPresent"}},
    ),
    BadRelease("no-secret", ("missing-object",), NOWHERE | {"auth": {"existingSecret": "keys-of-no-one"}}),
    BadRelease(
        "no-config-map",
        ("missing-object",),
        NOWHERE | {"extraEnvFrom": [{"configMapRef": {"name": "settings-of-no-one"}}]},
    ),
    BadRelease(
        "no-key",
        ("missing-key", "missing-object"),
        NOWHERE
        | {
            "extraObjects": [
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "empty"}, "stringData": {"other": "1"}}
            ],
            "extraEnv": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "empty", "key": "token"}}}],
        },
    ),
    BadRelease(
        "no-claim", ("missing-object",), NOWHERE | {"artifact": {"source": "volume", "claimName": "claim-of-no-one"}}
    ),
    BadRelease(
        "unbound-claim",
        ("claim-not-bound",),
        NOWHERE
        | {
            "artifact": {"source": "volume", "claimName": "unbound"},
            "extraObjects": [
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {"name": "unbound"},
                    "spec": {
                        "storageClassName": "class-of-no-one",
                        "accessModes": ["ReadOnlyMany"],
                        "resources": {"requests": {"storage": "1Gi"}},
                    },
                }
            ],
        },
    ),
    BadRelease("much-cpu", ("too-little-cpu",), NOWHERE | {"resources": _resources(cpu="900")}),
    BadRelease("much-memory", ("too-little-memory",), NOWHERE | {"resources": _resources(memory="90Ti")}),
    BadRelease(
        "no-gpu", ("too-little-of-a-resource",), NOWHERE | {"resources": _resources(**{"example.com/gpu": "1"})}
    ),
    BadRelease("no-node", ("node-selector",), NOWHERE | {"nodeSelector": {"disk": "of-no-one"}}),
    BadRelease("no-account", ("service-account",), NOWHERE | {"serviceAccount": {"create": False, "name": "no-one"}}),
    BadRelease("no-priority", ("class-absent",), NOWHERE | {"priorityClassName": "of-no-one"}),
    BadRelease("no-runtime", ("class-absent",), NOWHERE | {"runtimeClassName": "of-no-one"}),
    BadRelease("by-kserve", ("kserve-silent", "image-not-on-node"), NOWHERE | {"mode": "kserve"}),
    BadRelease("over-quota", ("quota",), NOWHERE | {"resources": _resources(cpu="450m")}, rules=True),
    BadRelease("over-limit", ("limit-range",), NOWHERE | {"resources": _resources(memory="900Mi")}, rules=True),
    BadRelease(
        "as-root",
        ("pod-security",),
        NOWHERE | {"podSecurityContext": {"runAsNonRoot": False, "runAsUser": 0}},
        rules=True,
    ),
    BadRelease("by-policy", ("admission-refused",), NOWHERE | {"podLabels": {"refuse": "me"}}, rules=True),
    BadRelease("by-dead-hook", ("admission-unreachable",), NOWHERE | {"podLabels": {"ask": "no-one"}}, rules=True),
    BadRelease("other-digest", ("wrong-digest",), {"artifact": {"digest": f"sha256:{'0' * 64}"}}, starts=True),
    BadRelease("no-artifact", ("artifact-gone",), {"artifact": {"path": "/app/nothing"}}, starts=True),
    BadRelease(
        "no-store",
        ("artifact-gone",),
        {"artifact": {"source": "fetch", "uri": "http://127.0.0.1:1/cards", "digest": f"sha256:{'0' * 64}"}},
        starts=True,
    ),
    BadRelease("no-number", ("wrong-setting",), {"extraEnv": [{"name": "LADING_LANES", "value": "many"}]}, starts=True),
    BadRelease(
        "no-init",
        ("init-container",),
        {"extraInitContainers": [{"name": "prepare", "command": ["sh", "-c", "echo no disk; exit 3"]}]},
        starts=True,
    ),
    BadRelease(
        "no-python", ("container-cannot-run",), {"extraEnv": [{"name": "PATH", "value": "/nowhere"}]}, starts=True
    ),
    BadRelease("ends", ("crash-loop",), {"extraEnv": [{"name": "PYTHONHOME", "value": "/nowhere"}]}, starts=True),
    BadRelease(
        "other-port",
        ("probe-failing",),
        {"extraEnv": [{"name": "LADING_HTTP_PORT", "value": "8081"}]},
        starts=True,
        full=True,
    ),
    BadRelease(
        "little-memory",
        ("out-of-memory",),
        {"resources": {"requests": {"cpu": "100m", "memory": "48Mi"}, "limits": {"cpu": "1", "memory": "48Mi"}}},
        starts=True,
        full=True,
    ),
)

RULES: tuple[dict[str, Any], ...] = (
    {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team"},
        "spec": {"hard": {"limits.cpu": "300m"}},
    },
    {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "sizes"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "600Mi"}}]},
    },
)
"""Rules of one namespace."""


def cluster_rules(namespace: str) -> list[dict[str, Any]]:
    """A policy and a webhook that no one answers, for pods of one namespace with a label."""
    where = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    pods = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": namespace},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": pods},
                "validations": [
                    {
                        "expression": "!has(object.metadata.labels.refuse)",
                        "message": "pods with the label refuse are refused",
                    }
                ],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": namespace},
            "spec": {
                "policyName": namespace,
                "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": where},
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": namespace},
            "webhooks": [
                {
                    "name": "pods.example.com",
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "failurePolicy": "Fail",
                    "namespaceSelector": where,
                    "objectSelector": {"matchLabels": {"ask": "no-one"}},
                    "rules": pods,
                    "clientConfig": {"url": "https://127.0.0.1:1/"},
                }
            ],
        },
    ]


def values_of(bad: BadRelease, image: str) -> dict[str, Any]:
    """The values of a bad release: small, and with the image if it starts."""
    values: dict[str, Any] = {
        "replicaCount": 1,
        "bento": {"enabled": False},
        "resources": SMALL,
        "shutdown": {"preStop": "none"},
        "settings": {"drain_s": 1},
    } | bad.values
    if bad.starts:
        repository, _, tag = image.rpartition(":")
        values["image"] = {"repository": repository, "tag": tag, "pullPolicy": "Never"}
        for container in values.get("extraInitContainers", []):
            container |= {"image": image, "imagePullPolicy": "Never", "securityContext": RESTRICTED}
    return values
