"""A server with trusted keys serves what one of them signed, and says why it does not serve anything else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lading.artifact import Artifact
from lading.deploy.why.causes import CAUSES
from lading.errors import UntrustedError
from lading.serve.start_check import check_start
from lading.settings import Settings
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.signed import TAMPERED, Signer, flip_a_bit, peer_signs, remove_the_signature
from tests.given.small_artifacts import table_artifact

BODY = {"features": [[1, 2, 3, 4]]}
LOAD = "/v2/repository/models/small-table/load"


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, signer: Signer) -> Path:
    return signer.sign(table_artifact(tmp_path / "table").path)


def refusals(live: LiveServer) -> dict[str, float]:
    """``lading_artifact_untrusted`` of the model, by reason."""
    families = text_string_to_metric_families(live.client.get("/metrics").text)
    found = (sample for family in families if family.name == "lading_artifact_untrusted" for sample in family.samples)
    return {sample.labels["reason"]: sample.value for sample in found if sample.labels["model"] == "small-table"}


def test_what_a_trusted_key_signed_is_served(folder: Path, signer: Signer) -> None:
    with live_server(artifact=folder, trusted_keys=signer.trusted) as live:
        assert live.client.post("/predict", json=BODY).status_code == 200
        assert refusals(live) == {}


def test_what_the_other_program_signed_is_served(folder: Path, signer: Signer) -> None:
    peer_signs(folder, signer.private)
    with live_server(artifact=folder, trusted_keys=signer.trusted) as live:
        assert live.client.post("/predict", json=BODY).status_code == 200


@pytest.mark.parametrize("name", [name for name in TAMPERED if name != "a file removed"])
def test_what_was_tampered_with_is_not_ready_and_says_why(folder: Path, signer: Signer, name: str) -> None:
    tamper, reason = TAMPERED[name]
    tamper(folder, signer)
    check_start(Settings(artifact=(folder,), trusted_keys=(signer.trusted,)))  # a supervisor starts the workers
    with live_server(ready=False, artifact=folder, trusted_keys=signer.trusted) as live:
        wait_until(lambda: live.client.get("/readyz").json()["error"] != "not ready: the model is being loaded")
        sentence = live.client.get("/readyz").json()["error"]
        assert str(folder) in sentence
        assert "\n" not in sentence
        assert live.client.get("/livez").status_code == 200
        assert live.client.post("/predict", json=BODY).status_code == 503
        assert {reason for reason, value in refusals(live).items() if value} == {reason}


def test_the_sentence_names_the_keys_that_are_trusted(folder: Path, signer: Signer) -> None:
    remove_the_signature(folder, signer)
    with live_server(artifact=folder, trusted_keys=signer.trusted, ready=False) as live:
        wait_until(lambda: "not signed" in live.app.repository.not_ready_because)
        assert f"Trusted are the keys {signer.id[:12]} (release.pub)" in live.client.get("/readyz").json()["error"]


def test_no_file_of_a_refused_artifact_is_opened(folder: Path, signer: Signer) -> None:
    """Its pages show what its manifest says; one that would read another file says that it is refused."""
    flip_a_bit(folder, signer)
    with live_server(artifact=folder, trusted_keys=signer.trusted, ready=False) as live:
        wait_until(lambda: live.app.repository.find().artifact.refused is not None)
        for file in (folder / "golden").iterdir():
            file.unlink()
        (folder / "reference.json").unlink()
        for path in ("/v2/models/small-table", "/model", "/docs.json", "/report", "/drift", "/status", "/"):
            answer = live.client.get(path)
            assert answer.status_code in (200, 404, 503), path
            assert "cannot be read" not in answer.text, path


def test_a_reload_refuses_what_was_changed_and_serves_what_it_had(folder: Path, signer: Signer) -> None:
    kept = Path(shutil.copytree(folder, folder.parent / "kept"))
    with live_server(artifact=folder, trusted_keys=signer.trusted, model_control=True) as live:
        flip_a_bit(folder, signer)
        refused = live.client.post(LOAD)
        assert refused.status_code == 500
        assert "it was changed after signing" in refused.json()["error"]
        assert live.client.post("/predict", json=BODY).status_code == 200
        assert live.client.get("/readyz").status_code == 200
        assert refusals(live)["altered"] == 1
        shutil.rmtree(folder)
        kept.rename(folder)
        assert live.client.post(LOAD).status_code == 200
        assert set(refusals(live).values()) == {0}


def test_a_key_may_be_rotated_without_a_restart(folder: Path, signer: Signer, tmp_path: Path) -> None:
    new = Signer(tmp_path, "release-2")
    with live_server(artifact=folder, trusted_keys=signer.trusted, model_control=True) as live:
        new.sign(folder)
        assert "which is not trusted here" in live.client.post(LOAD).json()["error"]
        shutil.copyfile(new.public, signer.trusted / new.public.name)
        assert live.client.post(LOAD).status_code == 200
        signer.sign(folder)
        signer.expire()
        assert "which expired at the end of" in live.client.post(LOAD).json()["error"]
        assert {reason for reason, value in refusals(live).items() if value} == {"expired"}


def test_one_refused_artifact_leaves_the_others_served(folder: Path, signer: Signer, tmp_path: Path) -> None:
    from tests.given.small_artifacts import typed_artifact

    unsigned: Artifact = typed_artifact(tmp_path / "types")
    with live_server(artifact=(folder, unsigned.path), trusted_keys=signer.trusted, ready=False) as live:
        wait_until(lambda: live.client.get(f"/v2/models/{unsigned.manifest.name}/ready").status_code == 503)
        wait_until(lambda: live.client.post("/predict", json=BODY).status_code == 200)
        assert live.client.get("/readyz").status_code == 503


@pytest.mark.parametrize("name", TAMPERED)
def test_why_knows_each_refusal(folder: Path, signer: Signer, name: str) -> None:
    """What a pod leaves in its termination message is a cause of ``lading why``."""
    TAMPERED[name][0](folder, signer)
    with pytest.raises(UntrustedError) as refused:
        Artifact.load(folder, [signer.trusted])
    said = f"Error: exit code 137: small-table is not ready: {refused.value}"
    found = next(cause for cause in CAUSES if cause.match(said, {}))
    assert found.name == "artifact-untrusted"
