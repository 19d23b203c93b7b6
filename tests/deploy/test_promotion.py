"""A candidate that passed its gates goes into the bucket, into the release without requests, and into a canary Job."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lading.artifact import MANIFEST, Artifact
from lading.cli import app
from lading.deploy.canary.gateway import Routes
from lading.deploy.fetch import fetch
from lading.deploy.kubernetes import Cluster
from lading.deploy.promotion import Candidate, publish, rolled_out, start_canary
from lading.errors import CanaryError, FetchError
from tests.given.api_server import NAMESPACE, ApiServer, api_server, route
from tests.given.bucket import s3_bucket
from tests.given.small_artifacts import table_artifact

MANIFESTS = Path(__file__).parents[2] / "k8s" / "training" / "promotion"
CRONJOB = yaml.safe_load((MANIFESTS / "canary.yaml").read_text())
ACCOUNT = list(yaml.safe_load_all((MANIFESTS / "account.yaml").read_text()))
URI, DIGEST = "gs://models/cards-1", f"sha256:{'1' * 64}"


def template(**spec: Any) -> dict[str, Any]:
    made: dict[str, Any] = copy.deepcopy(CRONJOB)
    made["metadata"]["uid"] = "0-1-2"
    made["spec"]["jobTemplate"]["spec"].update(spec)
    return made


def deployment(name: str, replicas: int, *, fetches: bool = True) -> dict[str, Any]:
    """As the chart makes it; its pods are ready at once."""
    fetch_args = ["gs://models/old", "--digest", "sha256:old", "--out", "/artifacts/served"]
    pod: dict[str, Any] = {
        "containers": [{"name": "server", "env": [{"name": "LADING_DIGEST", "value": "sha256:old"}]}]
    }
    if fetches:
        pod["initContainers"] = [{"name": "other", "args": []}, {"name": "fetch", "args": fetch_args}]
    return {
        "metadata": {"name": name, "resourceVersion": "1", "generation": 1},
        "spec": {"replicas": replicas, "template": {"spec": pod}},
        "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2},
    }


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return table_artifact(tmp_path / "artifact")


@pytest.fixture
def api() -> Iterator[ApiServer]:
    objects = {
        "cronjobs/cards-canary": template(),
        "httproutes/cards": route(0, 100),
        "deployments/cards-a": deployment("cards-a", 1),
        "deployments/cards-b": deployment("cards-b", 2),
    }
    with api_server(objects) as server:
        yield server


def candidate(api: ApiServer, said: list[str], **more: Any) -> Candidate:
    cluster = Cluster.connect(api.url, retries=0)
    routes = Routes(cluster, NAMESPACE, ("httproutes/cards",), dry_run=False, say=said.append)
    return Candidate(cluster, NAMESPACE, routes, ("cards-a", "cards-b"), said.append, **more)


def test_the_release_without_requests_gets_the_candidate(api: ApiServer) -> None:
    said: list[str] = []
    assert candidate(api, said).deploy(URI, DIGEST) == "cards-a"
    changed = api.objects["deployments/cards-a"]["spec"]
    pod = changed["template"]["spec"]
    assert pod["initContainers"][1]["args"] == [URI, "--digest", DIGEST, "--out", "/artifacts/served"]
    assert pod["containers"][0]["env"] == [{"name": "LADING_DIGEST", "value": DIGEST}]
    assert changed["replicas"] == 2  # as many as have the requests now
    assert api.objects["deployments/cards-b"] == deployment("cards-b", 2)
    assert said[-1].startswith("cards-a is ready with sha256:1")


def test_the_drift_service_of_the_release_gets_the_candidate_too(api: ApiServer) -> None:
    """It counts answers of its own artifact alone, so it would never see one of the candidate's."""
    api.objects["deployments/cards-a-drift"] = deployment("cards-a-drift", 1)
    said: list[str] = []
    candidate(api, said).deploy(URI, DIGEST)
    changed = api.objects["deployments/cards-a-drift"]["spec"]
    assert changed["template"]["spec"]["initContainers"][1]["args"][:3] == [URI, "--digest", DIGEST]
    assert changed["replicas"] == 1
    assert "cards-a-drift gets it too" in said
    (role,) = (one for one in ACCOUNT if one["kind"] == "Role" and one["metadata"]["name"] == "cards-candidate")
    assert {f"{name}{end}" for name in ("cards-a", "cards-b") for end in ("", "-drift")} == {
        *role["rules"][0]["resourceNames"]
    }


def test_no_release_is_changed_while_both_have_requests(api: ApiServer) -> None:
    api.objects["httproutes/cards"] = route(50, 50)
    with pytest.raises(CanaryError, match="their weights are cards-a 50, cards-b 50"):
        candidate(api, []).deploy(URI, DIGEST)
    assert not api.history


def test_a_release_with_its_artifact_inside_is_refused(api: ApiServer) -> None:
    api.objects["deployments/cards-a"] = deployment("cards-a", 2, fetches=False)
    with pytest.raises(CanaryError, match="cards-a does not fetch its artifact"):
        candidate(api, []).deploy(URI, DIGEST)
    assert not api.history


def test_a_candidate_whose_pods_do_not_start_gets_no_request(api: ApiServer) -> None:
    stuck = deployment("cards-a", 2)
    late = {"reason": "ProgressDeadlineExceeded", "message": "timed out progressing"}
    stuck["status"] = {"observedGeneration": 1, "conditions": [late]}
    api.objects["deployments/cards-a"] = stuck
    with pytest.raises(CanaryError, match=r"do not become ready with the candidate \(timed out progressing\)"):
        candidate(api, []).deploy(URI, DIGEST)
    api.objects["deployments/cards-a"]["status"] = {}
    with pytest.raises(CanaryError, match="not within 0 s"):
        candidate(api, [], timeout_s=0, sleep=lambda _: None).deploy(URI, DIGEST)


def test_what_an_earlier_candidate_left_behind_does_not_count(api: ApiServer) -> None:
    stale = deployment("cards-a", 2)
    late = {"reason": "ProgressDeadlineExceeded", "message": "timed out progressing"}
    stale["metadata"]["generation"] = 2
    stale["status"] |= {"conditions": [late]}
    api.objects["deployments/cards-a"] = stale

    def controller(_: float) -> None:
        api.objects["deployments/cards-a"]["status"]["observedGeneration"] = 2

    assert candidate(api, [], sleep=controller).deploy(URI, DIGEST) == "cards-a"


def test_a_folder_that_cannot_be_written_is_one_sentence(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FetchError, match="cannot be written"):
        publish(artifact, str(tmp_path / "file" / "models"))


@pytest.mark.parametrize(
    "change",
    [{"observedGeneration": 0}, {"readyReplicas": 1}, {"updatedReplicas": 1}, {"replicas": 3}, {"readyReplicas": None}],
)
def test_a_rollout_is_over_when_all_pods_are_new_and_ready(change: dict[str, Any]) -> None:
    done = deployment("cards-a", 2)
    assert rolled_out(done)
    done["status"] |= change
    assert not rolled_out(done)


@pytest.mark.parametrize("suspend", [False, True])
def test_a_candidate_starts_the_job_that_its_model_prepared(api: ApiServer, suspend: bool) -> None:
    api.objects["cronjobs/cards-canary"] = template(suspend=suspend)
    cluster = Cluster.connect(api.url, retries=0)
    name, waits = start_canary(cluster, NAMESPACE, "cards", URI, DIGEST)
    assert waits is suspend
    job = api.of("jobs")[name]
    pod = job["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        env = {one["name"]: one.get("value") for one in container["env"]}
        assert (env["CANDIDATE_URI"], env["CANDIDATE_DIGEST"], env["HOME"]) == (URI, DIGEST, "/tmp")
    assert job["metadata"]["ownerReferences"][0]["name"] == "cards-canary"
    with pytest.raises(CanaryError, match="has been promoted before"):
        start_canary(cluster, NAMESPACE, "cards", URI, DIGEST)
    with pytest.raises(
        CanaryError, match=r"no CronJob in the namespace serve has the label lading\.dev/canary=molecules"
    ):
        start_canary(cluster, NAMESPACE, "molecules", URI, DIGEST)


def test_what_is_published_can_be_fetched(artifact: Artifact, tmp_path: Path) -> None:
    address = publish(artifact, str(tmp_path / "models"))
    assert Path(address).name == f"small-table-{artifact.digest[7:19]}"
    assert fetch(address, artifact.digest, tmp_path / "served").digest == artifact.digest


def test_a_bucket_gets_the_manifest_last(artifact: Artifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with s3_bucket(monkeypatch) as bucket:
        address = publish(artifact, "s3://lading-log/models/")
        assert address.startswith("s3://lading-log/models/small-table-")
        assert list(bucket.objects)[-1].endswith(MANIFEST)
        assert fetch(address, artifact.digest, tmp_path / "served").digest == artifact.digest
        bucket.failures = [403]
        with pytest.raises(FetchError, match="cannot be written"):
            publish(artifact, "s3://lading-log/other")


def test_the_command_says_what_waits_for_approval(artifact: Artifact, api: ApiServer, tmp_path: Path) -> None:
    waiting = template(suspend=True)
    waiting["metadata"]["labels"]["lading.dev/canary"] = "small-table"
    api.objects["cronjobs/cards-canary"] = waiting
    words = [
        "promote",
        str(artifact.path),
        "--to",
        str(tmp_path / "models"),
        "--namespace",
        NAMESPACE,
        "--api",
        api.url,
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    (name,) = api.of("jobs")
    assert f"it waits for approval: kubectl -n serve patch job {name} --type=merge" in result.output


def test_each_container_of_the_template_is_a_command_that_exists() -> None:
    pod = CRONJOB["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        help_text = (
            CliRunner().invoke(app, [container["command"][3], "--help"], env={**os.environ, "COLUMNS": "200"}).output
        )
        for word in container["args"]:
            assert not word.startswith("--") or word.split("=")[0] in help_text
