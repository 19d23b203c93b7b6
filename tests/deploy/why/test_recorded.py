"""What a real cluster said about bad releases is read as the cause. tests/e2e/cluster/test_why.py recorded it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lading.deploy.why.diagnosis import diagnose
from lading.deploy.why.evidence import Evidence
from lading.deploy.why.statements import LONGEST_LINE, plain
from tests.given.bad_releases import BAD_RELEASES

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))
KNOWN = {bad.name: bad for bad in BAD_RELEASES}


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_the_cause_is_named_and_no_other(file: Path) -> None:
    bad = KNOWN[file.stem]
    found = diagnose(Evidence(**json.loads(file.read_text())), datetime(2026, 1, 1, tzinfo=UTC))
    causes = {finding.cause for finding in found.findings}
    assert causes & set(bad.cause), "\n".join(found.lines())
    assert causes <= {*bad.cause, *bad.too}
    assert all(len(finding.sentence) <= 500 and finding.do and finding.about for finding in found.findings)


def test_a_release_without_objects_is_well_where_all_is_ready() -> None:
    pod = {
        "kind": "Pod",
        "metadata": {"name": "cards-5d-x"},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "server"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    deployed = {"version": 3, "info": {"status": "deployed", "description": "Upgrade complete"}}
    found = diagnose(Evidence("cards", "serve", [deployed], [pod]), datetime(2026, 1, 1, tzinfo=UTC))
    assert found.well
    assert list(found.lines())[-1] == "all is well"
    assert found.state == "revision 3 is deployed, 1 of 1 pods are ready"


def test_a_container_that_the_kubelet_lost_has_no_time_and_is_no_cause() -> None:
    ended = {"reason": "ContainerStatusUnknown", "exitCode": 137, "startedAt": None, "finishedAt": None}
    pod = {
        "kind": "Pod",
        "metadata": {"name": "cards-5d-x"},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "server"}]},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "server", "lastState": {"terminated": ended}}],
        },
    }
    assert diagnose(Evidence("cards", "serve", [], [pod]), datetime(2026, 1, 1, tzinfo=UTC)).well


@pytest.mark.parametrize(
    ("started", "changed", "well"),
    [
        ("2026-01-01T11:30:00Z", None, False),
        ("2025-12-31T11:30:00Z", None, True),
        ("2025-12-31T11:30:00Z", "2026-01-01T11:50:00Z", False),
        ("2025-12-31T11:30:00Z", "2025-12-31T12:50:00Z", True),
    ],
)
def test_a_pod_that_was_evicted_long_ago_is_no_cause(started: str, changed: str | None, well: bool) -> None:
    target = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": changed}
    pod = {
        "kind": "Pod",
        "metadata": {"name": "cards-5d-x"},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "server"}]},
        "status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low", "startTime": started},
    }
    pod["status"] |= {"conditions": [target]}  # type: ignore[operator]
    found = diagnose(Evidence("cards", "serve", [], [pod]), datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert found.well == well
    assert found.state == "0 of 0 pods are ready"


@pytest.mark.parametrize(("unreadable", "well"), [(["events"], True), (["pods"], False), (["deployments"], False)])
def test_what_could_not_be_read_is_said_and_is_not_called_well(unreadable: list[str], well: bool) -> None:
    deployed = {"version": 1, "info": {"status": "deployed", "description": "Install complete"}}
    found = diagnose(
        Evidence("cards", "serve", [deployed], [], unreadable=unreadable), datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert found.well == well
    assert ("all is well" in found.lines()) == well
    assert any(f"may not read {unreadable[0]}" in line for line in found.lines())


def test_a_long_line_of_a_log_is_searched_in_time_that_its_length_does_not_matter_to() -> None:
    assert {len(line) for line in plain("oci://a " * 100_000 + "\nb").splitlines()} == {LONGEST_LINE, 1}


def failing(name: str, where: str, status: dict[str, Any]) -> dict[str, Any]:
    """A pod with one container, or init container, that has ended."""
    return {
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Always",
            "containers": [{"name": "server"}],
            "initContainers": [{"name": "prepare"}],
        },
        "status": {f"{where}Statuses": [{"name": "server" if where == "container" else "prepare", "state": status}]},
    }


def test_containers_that_end_for_several_reasons_are_each_named_once() -> None:
    pods = [
        failing(
            f"cards-{exit}", "container", {"terminated": {"reason": "Error", "exitCode": exit, "message": "no disk"}}
        )
        for exit in (1, 1, 2)
    ]
    found = diagnose(Evidence("cards", "serve", [], pods), datetime(2026, 1, 1, tzinfo=UTC))
    assert [finding.cause for finding in found.findings] == ["crash-loop", "crash-loop"]


@pytest.mark.parametrize(("code", "causes"), [(1, ["crash-loop"]), (137, ["probe-failing", "crash-loop"])])
def test_a_probe_of_a_container_that_ends_by_itself_is_no_cause(code: int, causes: list[str]) -> None:
    ended = {"terminated": {"reason": "Error", "exitCode": code, "message": "no disk"}}
    pod = failing("cards-5d-x", "container", ended)
    pod["status"]["containerStatuses"][0]["containerID"] = "containerd://1"
    probe = {
        "reason": "Unhealthy",
        "message": "Startup probe failed: connection refused",
        "involvedObject": {"kind": "Pod", "name": "cards-5d-x"},
    }
    evidence = Evidence("cards", "serve", [], [pod], [probe])
    found = diagnose(evidence, datetime(2026, 1, 1, tzinfo=UTC))
    assert [finding.cause for finding in found.findings] == causes


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("no disk", "init-container"),
        ("Fetch: s3://models/cards/lading.json is not there", "artifact-gone"),
        ("Fetch: oci://r.test/cards:1: access to the manifest was denied: set REGISTRY_USERNAME", "artifact-login"),
    ],
)
def test_an_init_container_that_fails_is_one_cause(message: str, cause: str) -> None:
    ended = {"terminated": {"reason": "Error", "exitCode": 3, "message": message}}
    evidence = Evidence("cards", "serve", [], [failing("cards-5d-x", "initContainer", ended)])
    (finding,) = diagnose(evidence, datetime(2026, 1, 1, tzinfo=UTC)).findings
    assert finding.cause == cause


def test_a_pod_that_is_ready_again_names_the_end_of_its_container_for_an_hour() -> None:
    ended = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-01-01T11:30:00Z"}
    pod = {
        "kind": "Pod",
        "metadata": {"name": "cards-5d-x"},
        "spec": {
            "restartPolicy": "Always",
            "containers": [{"name": "server", "resources": {"limits": {"memory": "64Mi"}}}],
        },
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "server", "lastState": {"terminated": ended}}],
        },
    }
    (finding,) = diagnose(Evidence("cards", "serve", [], [pod]), datetime(2026, 1, 1, 12, tzinfo=UTC)).findings
    assert finding.cause == "out-of-memory"
    assert "64Mi" in finding.sentence
    assert diagnose(Evidence("cards", "serve", [], [pod]), datetime(2026, 1, 1, 13, tzinfo=UTC)).well
