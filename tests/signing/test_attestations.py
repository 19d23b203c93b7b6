"""Signed statements about an artifact: of the standard's form, bound to what was signed, and shown as a tree."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance as SlsaProvenance
from typer.testing import CliRunner

from lading.artifact import Artifact, write_artifact
from lading.artifact.manifest import LineageRun
from lading.artifact.statements import MEASURED, SLSA
from lading.cli.main import app
from lading.deploy.fetch import fetch
from lading.deploy.promotion import publish
from lading.signing import MEASUREMENTS, PROVENANCE, SIGNATURE
from lading.signing.attestations import attest, read_attestations
from lading.signing.trusted_keys import TrustedKeys
from tests.given.documented import ROOT
from tests.given.signed import Signer, peer_signs, peer_verifies
from tests.given.small_artifacts import table_artifact

RUNS = (
    LineageRun(kind="prune", command="lading prune", weights="a" * 64, parents=(1, 2)),
    LineageRun(kind="train", run_id="second", data_fingerprint="d" * 64, parents=(2,)),
    LineageRun(kind="train", run_id="first", data_fingerprint="e" * 64, unknown=("the seed",)),
)


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, signer: Signer) -> Path:
    """An artifact of three runs, signed through the command line."""
    plain = table_artifact(tmp_path / "plain")
    source = plain.manifest.provenance.model_copy(
        update={
            "runs": RUNS,
            "data_fingerprint": "d" * 64,
            "git_commit": "c" * 40,
            "git_dirty": True,
            "spec": "table.py:Table",
            "packages": {"lading": "0.2.0", "torch": "2.9.0"},
            "config": {"trainer": {"max_epochs": 3}},
        }
    )
    manifest = plain.manifest.model_copy(update={"provenance": source})
    files = {name: plain.path / name for name in manifest.files}
    packed = write_artifact(tmp_path / "table", manifest, files).path
    done = CliRunner().invoke(app, ["sign", str(packed), "--key", str(signer.private)])
    assert done.exit_code == 0, done.output
    return packed


def statement(folder: Path, name: str) -> dict[str, Any]:
    bundle = json.loads((folder / name).read_text())
    content: dict[str, Any] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    return content


def doubts(folder: Path, signer: Signer) -> dict[str, str]:
    return {one.kind: one.doubt for one in read_attestations(folder, TrustedKeys([signer.trusted]))}


def tree(folder: Path, trusted: Path | None) -> str:
    keys = {"LADING_TRUSTED_KEYS": str(trusted) if trusted else "", "COLUMNS": "400"}
    done = CliRunner().invoke(app, ["inspect", str(folder), "--provenance"], env=keys)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_the_statements_are_about_what_was_signed(folder: Path, signer: Signer) -> None:
    subject = statement(folder, SIGNATURE)["subject"]
    assert statement(folder, PROVENANCE)["subject"] == statement(folder, MEASUREMENTS)["subject"] == subject
    assert doubts(folder, signer) == {SLSA: "", MEASURED: ""}


def test_both_programs_accept_an_artifact_with_statements(folder: Path, signer: Signer) -> None:
    assert peer_verifies(folder, signer.public).returncode == 0
    assert Artifact.load(folder, [signer.trusted]).signed_by == signer.id
    peer_signs(folder, signer.private)
    assert Artifact.load(folder, [signer.trusted]).signed_by == signer.id
    assert all("another artifact" in doubt for doubt in doubts(folder, signer).values())


def test_the_provenance_is_slsas(folder: Path) -> None:
    predicate = statement(folder, PROVENANCE)["predicate"]
    parsed = json_format.ParseDict(predicate, SlsaProvenance())  # refuses a field that SLSA does not have
    names = [one.name for one in parsed.build_definition.resolved_dependencies]
    assert names == ["source", "data", "weights", "lading", "torch"]
    assert predicate["buildDefinition"]["externalParameters"]["config"] == {"trainer": {"max_epochs": 3}}
    assert parsed.run_details.builder.id.startswith("https://")


def test_the_measurements_are_valid_by_the_published_schema(folder: Path) -> None:
    schema = json.loads((ROOT / "docs/measurements.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    predicate = statement(folder, MEASUREMENTS)["predicate"]
    jsonschema.validate(predicate, schema)
    assert predicate["manifest"] == Artifact.load(folder, trusted=()).digest
    assert schema["$id"] == MEASURED


def test_the_tree_leads_back_to_the_data(folder: Path, signer: Signer) -> None:
    shown = tree(folder, signer.trusted)
    assert shown.count("which is trusted") == 3
    lines = shown.splitlines()
    (prune,) = (line for line in lines if "run 0: prune" in line)
    (second,) = (line for line in lines if "run 1: train" in line)
    (first,) = (line for line in lines if "run 2: train" in line)
    assert prune.index("run") < second.index("run") < first.index("run")
    assert "data eeeeeeeeeeeeeeee" in first
    assert "run 2, as above" in shown
    assert "source cccccccccccccccc with uncommitted changes" in shown


def test_a_tree_without_keys_says_that_nothing_was_checked(folder: Path) -> None:
    assert tree(folder, None).count("was not checked") == 3


def test_a_tree_of_an_unsigned_artifact_says_so(tmp_path: Path) -> None:
    assert "no statement is signed" in tree(table_artifact(tmp_path / "table").path, None)


def test_a_statement_of_another_artifact_is_doubted(folder: Path, signer: Signer, tmp_path: Path) -> None:
    other = table_artifact(tmp_path / "other").path
    assert CliRunner().invoke(app, ["sign", str(other), "--key", str(signer.private)]).exit_code == 0
    shutil.copyfile(other / MEASUREMENTS, folder / MEASUREMENTS)
    assert doubts(folder, signer) == {SLSA: "", MEASURED: "it is about another artifact than model.sig is"}


def test_a_statement_of_another_key_is_doubted(folder: Path, signer: Signer, tmp_path: Path) -> None:
    mallory = Signer(tmp_path, "mallory")
    attest(folder, MEASUREMENTS, MEASURED, statement(folder, MEASUREMENTS)["predicate"], mallory.key)
    assert "which is not trusted here" in doubts(folder, signer)[MEASURED]
    file = folder / PROVENANCE
    bundle = json.loads(file.read_text())
    changed = json.dumps(statement(folder, PROVENANCE) | {"predicate": {}}).encode()
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(changed).decode()
    file.write_text(json.dumps(bundle))
    assert "it was altered" in doubts(folder, signer)[SLSA]
    assert "which is not trusted here" in tree(folder, signer.trusted)


CHAIN = {"runs": [{"kind": "train", "parents": [place + 1]} for place in range(5000)]}
PREDICATES: list[Any] = [
    {},
    {"buildDefinition": []},
    {"buildDefinition": {"internalParameters": {"runs": 3}}, "runDetails": {}},
    {
        "buildDefinition": {
            "internalParameters": CHAIN,
            "externalParameters": {"spec": None, "checkpoint": None},
            "resolvedDependencies": [],
        },
        "runDetails": {"builder": {"id": "x", "version": {}}, "metadata": {"finishedOn": "x"}},
    },
]


@pytest.mark.parametrize("predicate", PREDICATES, ids=lambda one: str(one)[:40])
def test_a_predicate_that_we_do_not_write_is_shown_as_such(folder: Path, signer: Signer, predicate: Any) -> None:
    attest(folder, PROVENANCE, SLSA, predicate, signer.key)
    assert "its content is not what Lading writes" in tree(folder, signer.trusted)


def test_files_that_are_no_statements_are_named(folder: Path, signer: Signer) -> None:
    for number, content in enumerate((b"", b"{}", b"[" * 100_000, b"\xff")):
        (folder / f"attestations/{number}.json").write_bytes(content)
    assert tree(folder, signer.trusted).count("it cannot be read") == 4


def test_a_copy_has_the_statements(folder: Path, signer: Signer, tmp_path: Path) -> None:
    digest = Artifact.load(folder, trusted=()).digest
    fetched = fetch(str(folder), digest, tmp_path / "fetched").path
    published = Path(publish(Artifact.load(folder, trusted=()), str(tmp_path / "models")))
    for copy in (fetched, published):
        assert doubts(copy, signer) == {SLSA: "", MEASURED: ""}
    table_artifact(folder)  # a build may replace all of it
    assert not (folder / PROVENANCE).exists()
