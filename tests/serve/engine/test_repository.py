"""Several models, versions and variants in one server; loading and unloading them while it serves."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from lading.artifact import Artifact
from lading.errors import ArtifactError, SettingsError
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.serve.http.app import App
from lading.settings import Settings
from tests.given.changed_artifacts import with_costs, with_golden_outputs, with_renamed_golden_outputs
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.recorded import with_reference
from tests.given.small_artifacts import table_artifact, typed_artifact

BODY = {"features": [[1, 2, 3, 4]]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of models: two versions of one, and another."""
    folder = tmp_path / "models"
    folder.mkdir()
    first = table_artifact(folder / "table")
    with_costs(first, folder / "table-10", {1: 1.0}, version="10")
    typed_artifact(folder / "types")
    return folder


@pytest.fixture
def live(folder: Path) -> Iterator[LiveServer]:
    with live_server(models=folder, model_control=True) as started:
        yield started


def states(live: LiveServer) -> dict[tuple[str, str], str]:
    return {
        (entry["name"], entry["version"]): entry["state"] for entry in live.client.post("/v2/repository/index").json()
    }


def test_the_latest_version_answers_unless_another_is_named(live: LiveServer) -> None:
    assert live.client.get("/v2/models/small-table").json()["versions"] == ["1", "10"]
    content = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    for path, version in (("", "10"), ("/versions/1", "1"), ("/versions/10", "10")):
        answer = live.client.post(f"/v2/models/small-table{path}/infer", json=content)
        assert answer.json()["model_version"] == version


V2 = "/v2/models/small-table"
TENSORS = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
ADDRESSES = {
    "/model": None,
    "/docs.json": None,
    "/report": None,
    "/predict": BODY,
    V2: None,
    f"{V2}/ready": None,
    f"{V2}/infer": TENSORS,
}


@pytest.mark.parametrize("path", ADDRESSES)
def test_every_address_answers_for_what_its_query_names_or_404(path: str, tmp_path: Path) -> None:
    first = with_reference(table_artifact(tmp_path / "table"), tmp_path / "watched")
    second = with_costs(first, tmp_path / "table-10", {1: 1.0}, version="10")
    with live_server(first, second) as live:

        def status(**query: str) -> int:
            body = ADDRESSES[path]
            answer = (
                live.client.get(path, params=query) if body is None else live.client.post(path, params=query, json=body)
            )
            return answer.status_code

        assert {status(), status(version="10"), status(variant="fp32"), status(unknown="x"), status(version="")} == {
            200
        }
        # Drift is watched for what answers by default.
        assert status(version="1") == (404 if path == "/report" else 200)
        for wrong in ({"version": "2"}, {"variant": "int3"}, {"version": "1", "variant": "int3"}):
            assert status(**wrong) == 404
        assert path.startswith("/v2") or status(model="x") == 404


def test_the_plain_endpoints_answer_with_the_model_that_is_asked_for(live: LiveServer) -> None:
    assert live.client.post("/predict", json=BODY).json()["model"] == "small-table"
    typed = {"count": [[1, 2]], "flag": [[True, False]]}
    assert live.client.post("/predict?model=small-types", json=typed).json()["outputs"] == {"kept": [[1, 0]]}
    unknown = live.client.post("/predict?model=x", json=BODY)
    assert unknown.status_code == 404
    assert unknown.json()["error"] == "no model 'x' is served here; the models are: small-table, small-types"


def test_a_model_is_unloaded_once_what_was_accepted_is_answered(live: LiveServer) -> None:
    gate = threading.Event()
    live.hold(gate)
    with ThreadPoolExecutor(1) as pool:
        unloading = pool.submit(httpx.post, f"{live.url}/v2/repository/models/small-table/unload", timeout=20)
        wait_until(lambda: live.client.post("/predict", json=BODY).status_code == 503)
        assert not unloading.done()
        gate.set()
        assert unloading.result(20).status_code == 200
    assert states(live)["small-table", "1"] == "UNAVAILABLE"
    assert live.client.get("/v2/models/small-table/ready").status_code == 503
    assert live.client.get("/readyz").status_code == 200  # the others still answer
    assert live.client.post("/v2/repository/models/small-table/load").status_code == 200
    assert live.client.post("/predict", json=BODY).status_code == 200


def test_a_model_that_came_later_is_loaded_and_one_that_is_torn_is_not(live: LiveServer, folder: Path) -> None:
    with_costs(Artifact.load(folder / "types"), folder / "later", {1: 1.0}, name="later")
    assert states(live)["later", ""] == "UNAVAILABLE"
    with grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="later"))
        # KServe's clients have the name in the first field.
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(repository_name="later"))
        index = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True))
        assert "later" in {model.name for model in index.models}
        (folder / "later" / "reference.json").write_text("{}")
        with pytest.raises(grpc.RpcError, match=r"reference\.json"):
            stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="later"))
        assert stub.ModelReady(pb.ModelReadyRequest(name="later")).ready
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="later"))
        assert not stub.ModelReady(pb.ModelReadyRequest(name="later")).ready
    ready = {entry["name"] for entry in live.client.post("/v2/repository/index", json={"ready": True}).json()}
    assert ready == {"small-table", "small-types"}
    assert live.client.post("/v2/repository/index", content=b"[").status_code == 400
    assert live.client.post("/v2/repository/models/nothing/load").status_code == 404


def test_clients_do_not_control_models_unless_they_are_let(folder: Path) -> None:
    with live_server(models=folder) as live:
        for action in ("load", "unload"):
            answer = live.client.post(f"/v2/repository/models/small-table/{action}")
            assert answer.status_code == 403
            assert "LADING_MODEL_CONTROL is off" in answer.json()["error"]


def gauges(live: LiveServer, name: str) -> dict[tuple[str, ...], float]:
    """The values of a gauge by model and, where they have one, digest."""
    families = text_string_to_metric_families(live.client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return {
        (sample.labels["model"], *([sample.labels["digest"]] if "digest" in sample.labels else [])): sample.value
        for sample in samples
    }


def health(live: LiveServer) -> int:
    with grpc.insecure_channel(live.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return int(stub.Check(health_pb2.HealthCheckRequest()).status)


def test_the_gauges_say_what_is_served_after_every_change(small: dict[str, Artifact], tmp_path: Path) -> None:
    folder = tmp_path / "models"
    first = with_costs(small["table"], folder / "table", {1: 1.0})
    original = with_costs(small["table"], tmp_path / "original", {1: 1.0})
    control = "/v2/repository/models/small-table"
    with live_server(models=folder, model_control=True) as live:

        def state() -> tuple[int, float, set[tuple[str, ...]]]:
            answered = live.client.post("/predict", json=BODY).status_code
            return answered, gauges(live, "lading_ready")["small-table",], set(gauges(live, "lading_model_info"))

        assert state() == (200, 1, {("small-table", first.digest)})
        assert live.client.post(f"{control}/load").status_code == 200
        assert state() == (200, 1, {("small-table", first.digest)})
        second = with_costs(original, folder / "table", {1: 2.0})
        assert live.client.post(f"{control}/load").status_code == 200
        assert state() == (200, 1, {("small-table", second.digest)})
        with_golden_outputs(original, folder / "table", shift=0.5)
        failed = live.client.post(f"{control}/load")
        assert (failed.status_code, "golden" in failed.json()["error"]) == (503, True)
        assert state() == (200, 1, {("small-table", second.digest)})
        with_renamed_golden_outputs(original, folder / "table")
        assert live.client.post(f"{control}/load").status_code == 500
        assert state() == (200, 1, {("small-table", second.digest)})
        assert live.client.post(f"{control}/unload").status_code == 200
        assert state() == (503, 0, {("small-table", second.digest)})
        third = with_costs(original, folder / "table", {1: 3.0}, version="2")
        assert live.client.post(f"{control}/load").status_code == 200
        assert state() == (200, 1, {("small-table", third.digest)})
        assert set(gauges(live, "lading_model_created_timestamp_seconds")) == {("small-table",)}


def test_grpc_health_follows_a_model_that_is_loaded_later(small: dict[str, Artifact], tmp_path: Path) -> None:
    kinds = health_pb2.HealthCheckResponse.ServingStatus
    folder = tmp_path / "models"
    with_golden_outputs(small["table"], folder / "table", shift=0.5)
    with live_server(models=folder, model_control=True, ready=False) as live:
        wait_until(lambda: "golden" in live.client.get("/readyz").text)
        assert health(live) == kinds.NOT_SERVING
        with_costs(small["table"], folder / "table", {1: 1.0})
        assert live.client.post("/v2/repository/models/small-table/load").status_code == 200
        assert live.client.get("/readyz").status_code == 200
        wait_until(lambda: health(live) == kinds.SERVING)


def test_a_reload_checks_what_a_start_checks(small: dict[str, Artifact], tmp_path: Path) -> None:
    first = with_costs(small["table"], tmp_path / "table", {1: 1.0})
    original = with_costs(small["table"], tmp_path / "original", {1: 1.0})
    control = "/v2/repository/models/small-table/load"
    with live_server(artifact=tmp_path / "table", digest=first.digest, model_control=True) as live:
        with_costs(original, tmp_path / "table", {1: 2.0})
        refused = live.client.post(control)
        assert (refused.status_code, "LADING_DIGEST asks for" in refused.json()["error"]) == (500, True)
        assert live.client.post("/predict", json=BODY).status_code == 200
    with live_server(artifact=tmp_path / "table", model_control=True) as live:
        content = json.loads((tmp_path / "table" / "lading.json").read_bytes())
        content["variants"][0]["passed"] = False
        (tmp_path / "table" / "lading.json").write_text(json.dumps(content))
        refused = live.client.post(control)
        assert (refused.status_code, "was refused by verify" in refused.json()["error"]) == (500, True)
        assert live.client.post("/predict", json=BODY).status_code == 200


def test_two_artifacts_of_one_name_and_version_are_refused(folder: Path) -> None:
    shutil.copytree(folder / "table", folder / "again")
    with pytest.raises(SettingsError, match="give them different names or versions"):
        App(Settings(models=folder))


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"has no subfolder with a lading\.json"):
        App(Settings(models=tmp_path))


def test_a_variant_that_the_artifact_does_not_have_is_refused(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="int8"):
        App(Settings(artifact=folder / "table", variants="int8"))


def test_every_variant_may_be_asked_for_by_name(folder: Path) -> None:
    with live_server(artifact=folder / "table", variants="*") as live:
        metadata = live.client.get("/v2/models/small-table").json()
        assert metadata["parameters"]["variants"] == ["fp32"]
        assert live.client.post("/predict?variant=fp32", json=BODY).json()["variant"] == "fp32"
        answer = live.client.post("/predict?variant=int8", json=BODY)
        assert (answer.status_code, "the variants loaded are: fp32" in answer.json()["error"]) == (404, True)
