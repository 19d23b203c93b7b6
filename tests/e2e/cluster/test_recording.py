"""The payload log and spans are switched on by values alone, in the shipped image, and read back."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.cluster.kube import ROOT, Release, run, wait_until
from tests.e2e.cluster.sink_pod import s3_variables, sink_objects
from tests.given.payload_rows import rows_in

pytestmark = pytest.mark.slow
ASKED = 60


@pytest.fixture
def sink(release: Release) -> Iterator[str]:
    """A bucket and a collector in a pod; its address in the cluster."""
    image = release.values["image"]
    for one in sink_objects(f"{image['repository']}:{image['tag']}"):
        release.kubectl("apply", "--filename", "-", stdin=json.dumps(one))
    release.kubectl("wait", "--for=condition=Ready", "pod/sink", "--timeout=60s")
    yield f"http://sink.{release.namespace}.svc:9000"
    release.kubectl("delete", "pod,service,configmap", "sink", "--grace-period=0", check=False)


@pytest.fixture
def recording(release: Release) -> Iterator[Release]:
    """The release with one pod and a log that is written at once. Afterwards it is as before."""
    settings = {**release.values["settings"], "payload_rotate_s": 1}
    yield Release(release.name, release.namespace, {**release.values, "replicaCount": 1, "settings": settings})
    release.upgrade()


def ask(release: Release, photo: Path) -> set[str]:
    """The ids of requests that were answered."""
    with httpx.Client(base_url=release.url, timeout=30) as client:
        answers = [client.post("/classify", content=photo.read_bytes()) for _ in range(ASKED)]
    assert {answer.status_code for answer in answers} == {200}
    return {answer.headers["x-request-id"] for answer in answers}


def kept(release: Release) -> dict[str, Any]:
    """What the sink has got."""
    path = f"/api/v1/namespaces/{release.namespace}/services/sink:9000/proxy/kept"
    found: dict[str, Any] = json.loads(run("kubectl", "get", "--raw", path))
    return found


def spans_of(found: dict[str, Any]) -> set[str]:
    """The request ids of the spans."""
    ids = set()
    for body in map(base64.b64decode, found["spans"]):
        request = ExportTraceServiceRequest.FromString(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    ids |= {one.value.string_value for one in span.attributes if one.key == "lading.request_id"}
    return ids


def log_of(found: dict[str, Any], folder: Path) -> set[str]:
    """The request ids of the rows. The objects become files of a folder, as a copy of the bucket would."""
    for key, content in found["objects"].items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(base64.b64decode(content))
    return {row["request_id"] for row in rows_in(folder / "payloads", "cards")}


def test_the_log_goes_to_a_bucket_and_spans_to_a_collector(
    recording: Release, sink: str, photo: Path, artifact: Path, tmp_path: Path
) -> None:
    recording.values["settings"] |= {"payload_log": "s3://log/payloads", "tracing": True}
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink, **s3_variables(sink)}
    recording.values["extraEnv"] = [{"name": name, "value": value} for name, value in variables.items()]
    recording.upgrade()
    recording.settled()
    ids = ask(recording, photo)
    wait_until("every request is in the log", lambda: ids <= log_of(kept(recording), tmp_path), seconds=40)
    wait_until("every request has a span", lambda: ids <= spans_of(kept(recording)), seconds=40)
    checked = subprocess.run(
        [sys.executable, "-m", "lading", "drift", "check", str(tmp_path / "payloads"), str(artifact)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    # Sixty times the same photo is another distribution than the training data's.
    assert checked.returncode == 3, checked.stdout + checked.stderr


def test_the_log_goes_to_a_claim_and_is_read_in_the_pod(recording: Release, claim: str, photo: Path) -> None:
    recording.values["settings"] |= {"payload_log": "/payloads"}
    recording.values["payloadLog"] = {"claimName": claim}
    recording.upgrade()
    recording.settled()
    ask(recording, photo)
    check = (
        "exec",
        f"deployment/{recording.deployment}",
        "--",
        "python",
        "-m",
        "lading",
        "drift",
        "check",
        "/payloads",
    )

    def read() -> bool:
        return "has drifted" in recording.kubectl(*check, "/app/artifact", check=False)

    wait_until("the pod reads its own log", read, seconds=60)
