"""Every command and module that opens an artifact for use passes the one function that checks its signature."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lading
from lading.artifact import Artifact
from lading.cli.main import app
from lading.deploy.fetch import fetch
from lading.deploy.promotion import publish
from lading.errors import LadingError, UntrustedError
from tests.given.signed import Signer, flip_a_bit, remove_the_signature
from tests.given.small_artifacts import table_artifact

PACKAGE = Path(lading.__file__).parent
UNCHECKED = {"artifact/__init__.py": 2, "cli/artifact.py": 1, "cli/sign.py": 1}
"""Where an artifact is read without a check, and how often: as it is written, as it is shown, as it is signed."""


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return table_artifact(tmp_path / "table").path


def test_nothing_else_opens_an_artifact_unchecked() -> None:
    found: dict[str, int] = {}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Artifact.load"):
                given = [*node.args[1:], *(word.value for word in node.keywords)]
                if any(ast.unparse(value) == "()" for value in given):
                    name = file.relative_to(PACKAGE).as_posix()
                    found[name] = found.get(name, 0) + 1
    assert found == UNCHECKED


def test_nothing_else_makes_an_artifact() -> None:
    """``Artifact(...)`` would be one that nobody verified."""
    makers = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Artifact"
    }
    assert not makers


COMMANDS = (
    "verify-signature FOLDER",
    "report FOLDER --out OUT/report.html",
    "values FOLDER",
    "compare FOLDER FOLDER",
    "check FOLDER --url http://127.0.0.1:9 --grpc off",
    "score FOLDER OUT/rows.csv OUT/scores.csv",
    "drift check OUT FOLDER",
    "monitor FOLDER --out OUT/watching",
    "image FOLDER",
    "doctor FOLDER",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("tamper", [remove_the_signature, flip_a_bit])
def test_a_command_refuses_what_no_trusted_key_signed(
    command: str, tamper: Callable[[Path, Signer], None], folder: Path, signer: Signer
) -> None:
    tamper(signer.sign(folder), signer)
    (folder.parent / "rows.csv").write_text("features\n1\n")
    words = command.replace("FOLDER", str(folder)).replace("OUT", str(folder.parent)).split()
    done = CliRunner().invoke(app, words, env={"LADING_TRUSTED_KEYS": str(signer.trusted)})
    said = " ".join((done.output + str(done.exception)).split())
    assert done.exit_code != 0, said
    assert isinstance(done.exception, UntrustedError) or signer.id[:12] in said, said


def test_inspect_shows_who_signed(folder: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    def shown() -> str:
        done = CliRunner().invoke(app, ["inspect", str(folder)], env={"COLUMNS": "400"})
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())

    assert "by nobody" in shown()
    signer.sign(folder)
    assert f"key {signer.id[:12]}, which was not checked" in shown()
    monkeypatch.setenv("LADING_TRUSTED_KEYS", str(signer.trusted))
    assert f"key {signer.id[:12]} (release.pub), which is trusted" in shown()
    signer.expire()
    assert "which expired at the end of" in shown()


def test_fetch_copies_the_signature_and_checks_it(
    folder: Path, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = Artifact.load(folder).digest
    out = tmp_path / "fetched"
    fetch(str(folder), digest, out)
    monkeypatch.setenv("LADING_TRUSTED_KEYS", str(signer.trusted))
    with pytest.raises(LadingError, match=r"model\.sig"):
        fetch(str(folder), digest, out)
    signer.sign(folder)
    assert fetch(str(folder), digest, out).signed_by == signer.id
    Signer(tmp_path, "mallory").sign(folder)
    with pytest.raises(UntrustedError, match="not trusted here"):
        fetch(str(folder), digest, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_published_artifact_keeps_its_signature(folder: Path, signer: Signer, tmp_path: Path) -> None:
    address = publish(Artifact.load(signer.sign(folder)), str(tmp_path / "models"))
    assert Artifact.load(address, [signer.trusted]).signed_by == signer.id


def test_a_build_may_replace_a_signed_artifact(folder: Path, signer: Signer) -> None:
    signer.sign(folder)
    table_artifact(folder)
    assert not (folder / "model.sig").exists()


def test_sign_refuses_an_artifact_whose_checksums_do_not_hold(folder: Path, signer: Signer) -> None:
    flip_a_bit(folder, signer)
    done = CliRunner().invoke(app, ["sign", str(folder), "--key", str(signer.private)])
    assert "does not match its checksum" in str(done.exception)
    assert not (folder / "model.sig").exists()


def test_pack_signs_with_the_key_of_the_environment(
    folder: Path, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "packed"
    words = ["pack", str(folder / "variants/fp32.onnx"), "--name", "wine", "--out", str(out)]
    monkeypatch.setenv("LADING_SIGNING_KEY", str(tmp_path / "nowhere.pem"))
    refused = CliRunner().invoke(app, words)
    assert "cannot be read" in str(refused.exception)
    assert not out.exists()
    monkeypatch.setenv("LADING_SIGNING_KEY", str(signer.private))
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (done.output, done.exception)
    assert Artifact.load(out, [signer.trusted]).signed_by == signer.id
