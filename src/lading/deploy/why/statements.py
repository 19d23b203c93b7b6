"""What the evidence says, statement by statement: a reason and a message about an object that is not well."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from lading.deploy.kubernetes import Object
from lading.deploy.why.evidence import Evidence, containers, is_ready

RECENT = timedelta(hours=1)
"""A container that ended longer ago, and has run since, is no cause."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_BEFORE_CONTAINERS = {
    "FailedMount",
    "FailedAttachVolume",
    "FailedMapVolume",
    "FailedCreatePodSandBox",
    "NetworkNotReady",
}
_SIGTERM = 143
LONGEST_LINE = 1000
"""Characters of a line of a log that are looked at. Patterns take longer than its length, and a log may be anything."""


class Statement(NamedTuple):
    """One sentence of Kubernetes, Helm or the server."""

    about: str
    """Such as ``pod/cards-5d-x``."""
    text: str
    """``REASON: MESSAGE``; the message may have several lines."""
    facts: dict[str, str]


def statements(evidence: Evidence, now: datetime) -> Iterator[Statement]:
    """Everything that is said about objects that are not well, the most telling first."""
    for pod in evidence.of("Pod"):
        if "deletionTimestamp" not in pod["metadata"] and not _is_over(pod, now):
            yield from _of_pod(pod, evidence, now)
    for one in evidence.of("ReplicaSet"):
        for condition in _conditions(one):
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                yield _said(one, condition.get("reason", "FailedCreate"), condition.get("message", ""))
    for one in evidence.of("InferenceService"):
        yield from _of_inference_service(one, evidence)
    yield from _of_helm(evidence)
    for one in evidence.of("Deployment"):
        yield from _of_deployment(one)
    for one in [*evidence.of("HorizontalPodAutoscaler"), *evidence.of("ScaledObject")]:
        for condition in _conditions(one):
            if condition["type"] in ("ScalingActive", "Ready") and condition["status"] == "False":
                yield _said(one, condition.get("reason", ""), condition.get("message", ""))


def plain(text: str) -> str:
    """Lines of a log without colours; a line of JSON becomes its event and its reason."""
    return "\n".join(_line(line)[:LONGEST_LINE] for line in _COLOURS.sub("", text).splitlines() if line.strip())


def telling(text: str) -> str:
    """The line of a log that says why: the last with an error, or else the last."""
    lines = plain(text).splitlines()
    wrong = [line for line in lines if re.search(r"\b(?:\w*Error|\w*Exception|CRITICAL|cannot|refus\w+)\b", line)]
    return (wrong or lines or [""])[-1].strip()


def _line(line: str) -> str:
    try:
        row = json.loads(line)
        event = str(row["event"])
    except (ValueError, TypeError, KeyError):
        return line.rstrip()
    reason = row.get("reason") or row.get("error") or str(row.get("exception", "")).strip().rpartition("\n")[2]
    return f"{event}: {reason}" if reason else event


def _conditions(one: Object) -> list[Object]:
    found: list[Object] = one.get("status", {}).get("conditions") or []
    return found


def _said(one: Object, reason: str, message: str, facts: dict[str, str] | None = None) -> Statement:
    return Statement(f"{one['kind'].lower()}/{one['metadata']['name']}", f"{reason}: {message}", facts or {})


def _of_pod(pod: Object, evidence: Evidence, now: datetime) -> Iterator[Statement]:
    if is_ready(pod):
        yield from _ended_before(pod, now)
        return
    name, status = pod["metadata"]["name"], pod.get("status", {})
    wanted = _requests(pod)
    for absent in evidence.missing.get(name, []):
        yield _said(pod, "Missing", absent)
    if status.get("reason"):
        yield _said(pod, status["reason"], status.get("message", ""), wanted)
    for condition in _conditions(pod):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            reason = condition.get("reason", "Unschedulable")
            for part in _parts(condition.get("message", "")):
                yield _said(pod, reason, part, wanted)
    for spec, one, init in containers(pod):
        yield from _of_container(pod, spec, one, init, evidence.logs.get(f"{name}/{one['name']}", ""))
    # An event stays for an hour. One about a stage that the pod has left says nothing of what is wrong now.
    stage = {"Unhealthy"} if any(one.get("containerID") for _, one, _ in containers(pod)) else _BEFORE_CONTAINERS
    for event in evidence.events:
        about = event["involvedObject"]
        if about.get("name") == name and event.get("reason") in stage:
            container = re.search(r"containers\{(.+)\}", about.get("fieldPath", ""))
            facts = {"container": container[1]} if container else {}
            yield _said(pod, event["reason"], event.get("message", ""), facts)


def _is_over(pod: Object, now: datetime) -> bool:
    """A pod that failed some time ago. Another one has its place, and Kubernetes keeps it to be looked at."""
    status = pod.get("status", {})
    if status.get("phase") != "Failed":
        return False
    times = [(one.get("state", {}).get("terminated") or {}).get("finishedAt") for _, one, _ in containers(pod)]
    times += [condition.get("lastTransitionTime") for condition in _conditions(pod)]
    return not _is_recent(max(filter(None, times), default=status.get("startTime")), now)


def _ended_before(pod: Object, now: datetime) -> Iterator[Statement]:
    """A pod that is ready now, and whose container ended with an error a short time ago."""
    for spec, one, _ in containers(pod):
        ended = one.get("lastState", {}).get("terminated")
        if ended and ended["exitCode"] not in (0, _SIGTERM) and _is_recent(ended.get("finishedAt"), now):
            yield _said(pod, *_ended(ended, ""), _facts(spec, one))


def _of_container(pod: Object, spec: Object, one: Object, init: bool, log: str) -> Iterator[Statement]:
    facts = _facts(spec, one)
    state, last = one.get("state", {}), one.get("lastState", {})
    waiting = state.get("waiting", {})
    if waiting and waiting.get("reason") not in ("ContainerCreating", "PodInitializing", "CrashLoopBackOff"):
        yield _said(pod, waiting.get("reason", ""), waiting.get("message", ""), facts)
    for ended in (state.get("terminated"), last.get("terminated")):
        if not ended or (init and ended["exitCode"] == 0):
            continue
        hook = pod["spec"].get("restartPolicy") != "Always"
        if hook and ended["exitCode"] == 0:
            continue
        reason, message = _ended(ended, log)
        yield _said(pod, f"{'Init' if init else 'Hook' if hook else ''}{reason}", message, facts)
        break
    else:
        if state.get("running") and not one.get("ready") and log and not init:
            yield _said(pod, "Log", plain(log), facts | {"said": telling(log)})


def _ended(ended: Object, log: str) -> tuple[str, str]:
    """Reason and message of a container that ended. What it left behind counts for more than its log."""
    left = plain(ended.get("message", "")) or plain(log)
    return ended.get("reason", "Error"), f"exit code {ended['exitCode']}" + (f": {left}" if left else "")


def _parts(message: str) -> list[str]:
    """What the scheduler says, node by node: ``0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had ...``."""
    start, colon, rest = message.partition(" nodes are available: ")
    if not colon:
        return [message]
    rest = re.split(r"\.? (?:preemption:|no new claims to deallocate)", rest)[0]
    return [f"{start}{colon}{part}" for part in re.split(r", (?=\d+ )", rest)]


def _of_inference_service(one: Object, evidence: Evidence) -> Iterator[Statement]:
    conditions = _conditions(one)
    name = one["metadata"]["name"]
    if not conditions:
        yield _said(one, "NoStatus", f"the InferenceService {name} has no status")
    for condition in conditions:
        if condition["status"] == "False" and condition["type"] != "Stopped":
            message = f"{condition['type']}: {condition.get('message') or condition.get('reason') or 'no reason'}"
            yield _said(one, "InferenceServiceNotReady", message)
    if any(condition["type"] == "Ready" and condition["status"] != "True" for condition in conditions):
        for event in evidence.events:
            if event["involvedObject"].get("name") == name and event.get("type") == "Warning":
                yield _said(one, event.get("reason", ""), event.get("message", ""))


def _of_helm(evidence: Evidence) -> Iterator[Statement]:
    """The newest revision, and the one that failed before a rollback, with the last words of its pods."""
    if not evidence.revisions:
        return
    newest = evidence.revisions[-1]
    said = newest["info"]["description"]
    about = f"helm revision {newest['version']}"
    if newest["info"]["status"] not in ("deployed", "superseded"):
        yield Statement(about, f"{newest['info']['status']}: {said}", {"said": said})
    elif said.startswith("Rollback to"):
        back = int(re.sub(r"\D", "", said) or 0)
        failed = [one for one in evidence.revisions if one["info"]["status"] == "failed" and int(one["version"]) > back]
        there = {one["metadata"]["name"] for one in evidence.of("Pod")}
        gone = [event for event in evidence.events if event["involvedObject"]["name"] not in there]
        if not failed:
            return
        for event in gone:
            if event.get("type") == "Warning" and event["involvedObject"].get("kind") in ("Pod", "ReplicaSet"):
                reason, message = event.get("reason", ""), event.get("message", "")
                yield Statement(f"{about}, pod/{event['involvedObject']['name']}", f"{reason}: {message}", {})
        words = failed[-1]["info"]["description"]
        text = f"failed: revision {failed[-1]['version']} was rolled back: {words}"
        yield Statement(f"helm revision {failed[-1]['version']}", text, {})


def _of_deployment(one: Object) -> Iterator[Statement]:
    status, name = one.get("status", {}), one["metadata"]["name"]
    wanted = one["spec"].get("replicas", 1)
    for condition in _conditions(one):
        if condition["type"] == "Progressing" and condition["status"] == "False":
            yield _said(one, condition.get("reason", ""), condition.get("message", ""))
    if wanted == 0:
        yield _said(one, "Scaled", f"the Deployment {name} has 0 replicas")
    elif not (
        one["metadata"].get("generation", 0) <= status.get("observedGeneration", 0)
        and status.get("updatedReplicas", 0) == wanted == status.get("readyReplicas", 0) == status.get("replicas", 0)
    ):
        ready = status.get("readyReplicas", 0)
        new = status.get("updatedReplicas", 0)
        yield _said(
            one,
            "Starting",
            f"{ready} of {wanted} pods of the Deployment {name} are ready, and {new} are of this revision",
        )


def _facts(spec: Object, status: Object) -> dict[str, str]:
    resources = spec.get("resources") or {}
    found = {"container": status["name"], "image": spec.get("image") or status.get("image", "")}
    for key, value in (("memory", (resources.get("limits") or {}).get("memory")),):
        if value:
            found[key] = value
    return found


def _requests(pod: Object) -> dict[str, str]:
    """CPU and memory that the pod requests, as its containers write them."""
    found: dict[str, list[str]] = {"cpu": [], "memory": []}
    for container in pod["spec"]["containers"]:
        for key, values in found.items():
            if value := ((container.get("resources") or {}).get("requests") or {}).get(key):
                values.append(str(value))
    return {key: " + ".join(values) for key, values in found.items() if values}


def _is_recent(time: str | None, now: datetime) -> bool:
    """Less than an hour ago. The kubelet writes no time where it lost the container, at a restart of the node."""
    return time is not None and now - datetime.fromisoformat(time.replace("Z", "+00:00")).astimezone(UTC) < RECENT
