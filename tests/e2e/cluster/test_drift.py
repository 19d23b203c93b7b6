"""The drift service and its check, switched on by values: they read what two pods logged, and join truths with answers.

``LADING_E2E_DRIFT_IMAGE`` names the image with Evidently; without it the serving image makes Lading's own report.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.cluster.kube import Release, run, wait_until

pytestmark = pytest.mark.slow
IMAGE = os.environ.get("LADING_E2E_DRIFT_IMAGE", "")
TRUTHS = 60
WINDOW = 50


@pytest.fixture
def watched(release: Release, claim: str) -> Iterator[Release]:
    """The release with two pods that log to one claim, and a drift service that looks at it every second."""
    values = {
        **release.values,
        "settings": {**release.values["settings"], "payload_log": "/payloads", "payload_rotate_s": 1, "feedback": 1000},
        "payloadLog": {"claimName": claim},
        "drift": {
            **{"enabled": True, "image": IMAGE, "window": WINDOW, "everySeconds": 1, "checkSchedule": "0 6 * * *"},
            "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
        },
        "bento": {"enabled": False},
    }
    yield Release(release.name, release.namespace, values)
    release.upgrade()


def asked(release: Release, path: str) -> str:
    """What the drift service answers, or why it does not."""
    where = f"/api/v1/namespaces/{release.namespace}/services/{release.name}-drift:8090/proxy{path}"
    return run("kubectl", "get", "--raw", where, check=False)


def test_truths_that_reach_any_pod_count_for_the_whole_service(watched: Release, photo: Path) -> None:
    watched.upgrade()
    watched.settled()
    watched.kubectl("rollout", "status", f"deployment/{watched.name}-drift", "--timeout=120s")
    statuses = []
    for number in range(TRUTHS):  # a new connection each time, which the Service gives to one of the pods
        sent = {"x-request-id": f"photo-{number}", "connection": "close"}
        assert httpx.post(f"{watched.url}/classify", content=photo.read_bytes(), headers=sent).status_code == 200
        truth = {"request_id": f"photo-{number}", "truth": {"suit": "hearts" if number % 3 else "spades"}}
        statuses.append(httpx.post(f"{watched.url}/feedback", json=truth, headers={"connection": "close"}).status_code)
    print(f"{statuses.count(200)} truths came to the pod that answered, {statuses.count(202)} to the other")
    assert set(statuses) == {200, 202}
    # Two of three truths are what the photo shows.
    right = r'lading_live_accuracy{[^}]*output="suit",[^}]*scope="service",[^}]*} 0\.6[67]'
    wait_until(right, lambda: re.search(right, asked(watched, "/metrics")), 60)
    assert f'lading_drift_window_requests{{model="cards"}} {WINDOW}' in asked(watched, "/metrics")
    report = asked(watched, f"/report?n={WINDOW}")
    assert "<html" in report.lower()
    assert ("Material Icons" in report) == bool(IMAGE), "a font of Evidently's"


def test_the_check_fails_where_a_feature_has_drifted(watched: Release, photo: Path) -> None:
    """Sixty times the same photo is another distribution than the training data's."""
    watched.upgrade()
    watched.settled()
    for _ in range(TRUTHS):
        assert httpx.post(f"{watched.url}/classify", content=photo.read_bytes()).status_code == 200

    def checked() -> bool:
        watched.kubectl("delete", "job", "check", "--ignore-not-found")
        watched.kubectl("create", "job", "check", f"--from=cronjob/{watched.name}-drift")
        watched.kubectl("wait", "--for=jsonpath={.status.ready}=0", "job/check", "--timeout=60s", check=False)
        wait_until("the check ends", lambda: "conditions" in watched.get("job", "check")["status"], 60)
        return "has drifted" in watched.kubectl("logs", "job/check", check=False)

    wait_until("the check sees the log", checked, 120)
    (pod,) = watched.get("pods", "--selector", "job-name=check")["items"]
    (container,) = pod["status"]["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == 3
    assert json.dumps(watched.get("job", "check")["status"]["conditions"]).count("Failed")
