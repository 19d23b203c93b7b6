"""Brings a candidate from training to canary: into the bucket, into the release without requests, and into a Job."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from lading.artifact import MANIFEST, Artifact, replaced_artifact
from lading.deploy.canary.gateway import Routes, current_weights
from lading.deploy.kubernetes import Cluster, Kind, Object, Patch
from lading.deploy.retraining import CRONJOBS, JOBS, MODEL_LABEL, job_from_template
from lading.errors import CanaryError, FetchError, KubernetesError
from lading.files import first_line, open_bucket, shown
from lading.signing import MEASUREMENTS, PROVENANCE, SIGNATURE

CANARY_LABEL = "lading.dev/canary"
"""Label of the suspended CronJob whose Job moves requests to a candidate. Its value is the model's name."""
DEPLOYMENTS = Kind("apps", "v1", "deployments")
FETCH = "fetch"
"""The chart's init container that copies the artifact."""


def publish(artifact: Artifact, to: str) -> str:
    """Copy an artifact to a folder or a bucket, under its digest, the manifest last.

    Args:
        artifact: the candidate.
        to: ``gs://bucket/models``, ``s3://...``, ``az://...``, or a folder.

    Returns:
        Its own address, which ``lading fetch`` reads.

    Raises:
        FetchError: it cannot be written.
    """
    address = f"{to.rstrip('/')}/{artifact.manifest.name}-{artifact.digest.removeprefix('sha256:')[:12]}"
    signed = [name for name in (SIGNATURE, PROVENANCE, MEASUREMENTS) if artifact.file(name).is_file()]
    names = [*artifact.manifest.files, *signed, MANIFEST]
    if "://" not in to:
        try:
            with replaced_artifact(Path(address)) as folder:
                for name in names:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_bytes((artifact.path / name).read_bytes())
        except OSError as error:
            raise FetchError(f"{address} cannot be written: {error.strerror or error}") from None
        return address

    from datetime import timedelta

    import obstore

    try:
        store = open_bucket(address, request=timedelta(minutes=10), retries=timedelta(minutes=2))
        for name in names:
            obstore.put(store, name, artifact.path / name)
    except ValueError as error:
        raise FetchError(str(error)) from None
    except (obstore.exceptions.BaseError, OSError) as error:
        raise FetchError(f"{shown(address)} cannot be written: {first_line(error)}") from None
    return address


def start_canary(cluster: Cluster, namespace: str, model: str, uri: str, digest: str) -> tuple[str, bool]:
    """Create the Job that moves requests to a candidate, from the CronJob with the label :data:`CANARY_LABEL`.

    Each container of the Job gets ``CANDIDATE_URI`` and ``CANDIDATE_DIGEST``.

    Returns:
        Name of the Job, and whether it waits for approval because its template is suspended.

    Raises:
        CanaryError: no CronJob has the label, or the candidate has a Job already.
        KubernetesError: the API server does not answer, or refuses.
    """
    selector = f"{CANARY_LABEL}={model}"
    templates = cluster.select(CRONJOBS, namespace, selector)
    if not templates:
        raise CanaryError(
            f"no CronJob in the namespace {namespace} has the label {selector}: it is the canary's template"
        )
    job = job_from_template(templates[0], model, {}, 0)
    job["metadata"]["name"] = f"{templates[0]['metadata']['name'][:40]}-{digest.removeprefix('sha256:')[:12]}"
    # Without the label of a training, or the receiver would take it for one.
    del job["metadata"]["labels"][MODEL_LABEL]
    job["metadata"]["labels"][CANARY_LABEL] = model
    given = [{"name": "CANDIDATE_URI", "value": uri}, {"name": "CANDIDATE_DIGEST", "value": digest}]
    pod = job["spec"]["template"]["spec"]
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        container["env"] = [*(container.get("env") or ()), *given]
    name = str(job["metadata"]["name"])
    if not cluster.create(JOBS, namespace, job):
        raise CanaryError(f"the Job {name} exists: this candidate has been promoted before; delete it to try again")
    return name, bool(job["spec"].get("suspend"))


@dataclass(frozen=True)
class Candidate:
    """Gives an artifact to the one of two releases that has no requests."""

    cluster: Cluster
    namespace: str
    routes: Routes
    releases: tuple[str, str]
    """Names of the Deployments and their Services."""
    say: Callable[[str], None]
    timeout_s: float = 600.0
    """Maximum seconds until the pods are ready."""
    sleep: Callable[[float], None] = field(default=time.sleep)

    def deploy(self, uri: str, digest: str) -> str:
        """Change the artifact of the idle release and of its drift service, and wait until its pods serve it.

        Args:
            uri: address of the artifact.
            digest: its digest, ``sha256:...``.

        Returns:
            Name of the idle release.

        Raises:
            CanaryError: both releases have requests, the release does not fetch its artifact, or its pods do not
                become ready.
            KubernetesError: the API server does not answer, or refuses.
        """
        idle, busy = idle_of(self.routes.read(), self.releases)
        found = self.cluster.read(DEPLOYMENTS, self.namespace, idle)
        pods = max(1, int(self.cluster.read(DEPLOYMENTS, self.namespace, busy)["spec"].get("replicas") or 1))
        self.cluster.patch(DEPLOYMENTS, self.namespace, idle, artifact_patch(found, uri, digest, pods))
        self.say(f"{idle} gets {shown(uri)} with {pods} pods; {busy} has the requests")
        self._watch_drift(f"{idle}-drift", uri, digest)
        self._await(idle)
        self.say(f"{idle} is ready with {digest[:19]}")
        return idle

    def _watch_drift(self, name: str, uri: str, digest: str) -> None:
        """Give the release's drift service the artifact too, for it counts answers of its own one alone."""
        try:
            found = self.cluster.read(DEPLOYMENTS, self.namespace, name)
        except KubernetesError as error:
            if error.answered != HTTPStatus.NOT_FOUND:
                raise
            return
        self.cluster.patch(DEPLOYMENTS, self.namespace, name, artifact_patch(found, uri, digest, 1))
        self.say(f"{name} gets it too")

    def _await(self, name: str) -> None:
        end = time.monotonic() + self.timeout_s
        while True:
            found = self.cluster.read(DEPLOYMENTS, self.namespace, name)
            if rolled_out(found):
                return
            # Before the controller has seen the change, the conditions are those of an earlier candidate.
            failed = [
                one.get("message", "")
                for one in found.get("status", {}).get("conditions") or ()
                if one.get("reason") == "ProgressDeadlineExceeded" and _is_seen(found)
            ]
            if failed or time.monotonic() > end:
                why = failed[0] if failed else f"not within {self.timeout_s:g} s"
                raise CanaryError(
                    f"the pods of {name} do not become ready with the candidate ({why}); no request was moved: "
                    f"see `kubectl -n {self.namespace} describe pods`"
                )
            self.sleep(2.0)


def idle_of(routes: Sequence[Object], releases: tuple[str, str]) -> tuple[str, str]:
    """The release without requests, and the other one.

    Raises:
        CanaryError: both or none have requests.
    """
    sums = {name: sum(current_weights(route, releases).get(name, 0) for route in routes) for name in releases}
    idle = [name for name in releases if sums[name] == 0]
    if len(idle) != 1:
        shares = ", ".join(f"{name} {weight}" for name, weight in sums.items())
        raise CanaryError(f"one of both releases must have no requests, and their weights are {shares}")
    (busy,) = (name for name in releases if name != idle[0])
    return idle[0], busy


def artifact_patch(deployment: Object, uri: str, digest: str, pods: int) -> Patch:
    """The changes of a Deployment of the chart that serves another artifact.

    Raises:
        CanaryError: it does not fetch its artifact.
    """
    name = deployment["metadata"]["name"]
    template = deployment["spec"]["template"]["spec"]
    fetching = [index for index, one in enumerate(template.get("initContainers") or ()) if one["name"] == FETCH]
    if not fetching:
        raise CanaryError(
            f"{name} does not fetch its artifact, so it cannot get another one: set artifact.source=fetch"
        )
    at = fetching[0]
    out = template["initContainers"][at]["args"][-1]
    version = deployment["metadata"]["resourceVersion"]
    patch: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {
            "op": "add",
            "path": f"/spec/template/spec/initContainers/{at}/args",
            "value": [uri, "--digest", digest, "--out", out],
        },
        {"op": "add", "path": "/spec/replicas", "value": max(pods, int(deployment["spec"].get("replicas") or 0))},
    ]
    for number, container in enumerate(template["containers"]):
        for place, variable in enumerate(container.get("env") or ()):
            if variable["name"] == "LADING_DIGEST":
                path = f"/spec/template/spec/containers/{number}/env/{place}/value"
                patch.append({"op": "add", "path": path, "value": digest})
    return patch


def rolled_out(deployment: Object) -> bool:
    """Whether all pods of a Deployment are ready and have its newest template."""
    status, wanted = deployment.get("status") or {}, int(deployment["spec"].get("replicas") or 0)
    counts = [int(status.get(name) or 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
    return _is_seen(deployment) and counts == [wanted] * 3


def _is_seen(deployment: Object) -> bool:
    """Whether the status is about the newest spec."""
    observed = (deployment.get("status") or {}).get("observedGeneration") or 0
    return int(observed) >= int(deployment["metadata"].get("generation") or 0)
