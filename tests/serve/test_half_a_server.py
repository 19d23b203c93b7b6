"""An artifact that cannot be served: whichever step of the start fails, every probe and the log say the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lading.artifact import Artifact
from lading.errors import LadingError
from lading.log import configure_logging
from lading.serve.http.app import App
from lading.settings import Settings
from tests.given.changed_artifacts import with_files, with_golden_outputs, with_renamed_golden_outputs
from tests.given.live_server import live_server, wait_until
from tests.given.small_artifacts import log_artifact

Change = Callable[[Artifact, Path], object]


def reference(**changes: object) -> Change:
    """An artifact whose reference has other fields."""

    def change(artifact: Artifact, path: Path) -> Artifact:
        content = json.loads(artifact.reference_json()) | changes
        return with_files(artifact, path, {"reference.json": json.dumps(content).encode()})

    return change


def file(name: str, content: bytes) -> Change:
    """An artifact with other content in one file, and the checksum of that."""
    return lambda artifact, path: with_files(artifact, path, {name: content})


def graph_of_another_model(artifact: Artifact, path: Path) -> Artifact:
    other = log_artifact(path.with_name("other"))
    return with_files(artifact, path, {"variants/fp32.onnx": other.onnx_file().read_bytes()})


NOT_READY: dict[str, tuple[Change, str]] = {
    "an unknown key in the reference": (reference(colour="red"), "reference.json"),
    "a torn reference": (file("reference.json", b'{"examples": 3, '), "reference.json"),
    "an empty reference": (file("reference.json", b""), "reference.json"),
    "a reference that is a list": (file("reference.json", b"[1]"), "reference.json"),
    "a graph that is none": (file("variants/fp32.onnx", b"\x00" * 100), "cannot be opened by ONNX Runtime"),
    "a graph of another model": (graph_of_another_model, "has no output 'total'"),
    "golden outputs of another machine": (
        lambda artifact, path: with_golden_outputs(artifact, path, shift=0.5),
        "does not reproduce its golden output",
    ),
    "golden outputs of another name": (with_renamed_golden_outputs, "cannot be loaded: KeyError"),
    "golden outputs that are none": (file("golden/fp32.npz", b"PK"), "fp32.npz"),
}


@pytest.mark.parametrize("broken", NOT_READY)
def test_a_model_that_cannot_be_loaded_is_not_ready_on_every_probe_and_in_the_log(
    broken: str, small: dict[str, Artifact], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change, reason = NOT_READY[broken]
    configure_logging("info", "json")
    change(small["table"], tmp_path / "broken")
    with live_server(artifact=tmp_path / "broken", ready=False) as live:
        wait_until(lambda: reason in live.client.get("/readyz").text)
        assert live.client.get("/readyz").status_code == 503
        assert live.client.get("/v2/health/ready").status_code == 503
        assert live.client.get("/v2/models/small-table/ready").status_code == 503
        assert live.client.post("/predict", json={"features": [[1, 2, 3, 4]]}).status_code == 503
        assert live.client.get("/livez").status_code == 200
        assert 'lading_ready{model="small-table",variant="fp32"} 0.0' in live.client.get("/metrics").text
        live.stop.wait(0.3)  # longer than gRPC's health service takes to follow
        assert grpc_health(live.grpc) == "NOT_SERVING"
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert [reason in line["reason"] for line in lines if line["event"] == "not ready"] == [True]
    assert not [line for line in lines if line["event"] == "ready"]


def manifest(**changes: object) -> Change:
    """An artifact whose manifest has other fields."""

    def change(artifact: Artifact, path: Path) -> None:
        with_files(artifact, path, {})
        content = json.loads((path / "lading.json").read_bytes()) | changes
        (path / "lading.json").write_text(json.dumps(content))

    return change


def written(name: str, content: bytes) -> Change:
    """An artifact with other content in one file, and the checksum of the old one."""

    def change(artifact: Artifact, path: Path) -> None:
        with_files(artifact, path, {})
        (path / name).write_bytes(content)

    return change


REFUSED: dict[str, tuple[Change, str]] = {
    "a torn manifest": (written("lading.json", b'{"schema'), "is corrupt"),
    "a manifest that is a list": (written("lading.json", b"[]"), "no schema_version"),
    "a manifest in another encoding": (written("lading.json", b"\xff\xfe{"), "is corrupt"),
    "a manifest of a newer lading": (manifest(schema_version=99), "upgrade lading"),
    "an unknown key in the manifest": (manifest(colour="red"), "is not valid at 'colour'"),
    "golden inputs that are none": (file("golden/inputs.npz", b"PK"), "inputs.npz cannot be read"),
    "golden inputs that are cut": (file("golden/inputs.npz", b"PK\x03\x04" + bytes(30)), "inputs.npz cannot be read"),
    "empty golden inputs": (file("golden/inputs.npz", b""), "inputs.npz cannot be read"),
    "a torn graph": (written("variants/fp32.onnx", b"\x08"), "does not match its checksum"),
    "a torn reference": (written("reference.json", b"{"), "does not match its checksum"),
}


@pytest.mark.parametrize("broken", REFUSED)
def test_an_artifact_that_is_not_whole_is_refused_before_anything_listens(
    broken: str, small: dict[str, Artifact], tmp_path: Path
) -> None:
    change, reason = REFUSED[broken]
    change(small["table"], tmp_path / "broken")
    with pytest.raises(LadingError, match=reason):
        App(Settings(artifact=tmp_path / "broken"))


def grpc_health(address: str) -> str:
    with grpc.insecure_channel(address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
