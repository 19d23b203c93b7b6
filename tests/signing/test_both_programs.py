"""Lading and ``model_signing`` accept what the other signed, and both refuse what was tampered with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lading.artifact import Artifact
from lading.errors import UntrustedError
from lading.signing.keys import Curve
from tests.given.signed import TAMPERED, Signer, peer_signs, peer_verifies
from tests.given.small_artifacts import table_artifact


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table_artifact(tmp_path_factory.mktemp("packed") / "table").path


@pytest.fixture
def folder(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "table"))


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521"])
def test_each_program_accepts_what_the_other_signed(folder: Path, tmp_path: Path, curve: Curve) -> None:
    signer = Signer(tmp_path, curve=curve)
    signer.sign(folder)
    done = peer_verifies(folder, signer.public)
    assert done.returncode == 0, done.stderr
    peer_signs(folder, signer.private)
    assert Artifact.load(folder, [signer.trusted]).signed_by == signer.id


def test_both_accept_a_folder_that_git_keeps_files_in(folder: Path, signer: Signer) -> None:
    (folder / ".gitattributes").write_text("*.onnx filter=lfs\n")
    peer_signs(folder, signer.private)
    (folder / ".git").mkdir()
    (folder / ".git/HEAD").write_text("ref: refs/heads/main\n")
    assert Artifact.load(folder, [signer.public]).signed_by == signer.id
    signer.sign(folder)
    assert peer_verifies(folder, signer.public).returncode == 0


def test_both_order_paths_by_their_parts(folder: Path, signer: Signer) -> None:
    """``variants-b`` sorts before ``variants/...`` as text, and after it by parts."""
    (folder / "variants-b").mkdir()
    (folder / "variants-b/note.txt").write_text("a note")
    signer.sign(folder)
    assert peer_verifies(folder, signer.public).returncode == 0
    peer_signs(folder, signer.private)
    assert Artifact.load(folder, [signer.public]).signed_by == signer.id


def test_both_accept_a_folder_that_was_renamed(folder: Path, signer: Signer) -> None:
    moved = signer.sign(folder).rename(folder.parent / "cards-2")
    assert peer_verifies(moved, signer.public).returncode == 0
    assert Artifact.load(moved, [signer.public]).signed_by == signer.id


@pytest.mark.parametrize("name", TAMPERED)
def test_both_refuse_what_was_tampered_with(folder: Path, signer: Signer, name: str) -> None:
    tamper, reason = TAMPERED[name]
    tamper(signer.sign(folder), signer)
    with pytest.raises(UntrustedError) as refused:
        Artifact.load(folder, [signer.trusted])
    assert refused.value.reason == reason
    assert folder.name in str(refused.value)
    done = peer_verifies(folder, signer.public)
    assert done.returncode == 1, done.stdout


def test_both_refuse_a_key_that_was_rotated(folder: Path, signer: Signer, tmp_path: Path) -> None:
    """``model_signing`` has no list of keys with their ends: whoever runs it gives the key that is in force."""
    signer.sign(folder)
    new = Signer(tmp_path, "release-2")
    shutil.copyfile(new.public, signer.trusted / new.public.name)
    assert Artifact.load(folder, [signer.trusted]).signed_by == signer.id
    signer.expire()
    with pytest.raises(UntrustedError, match=rf"{signer.id[:12]}.*expired.*{new.id[:12]}") as refused:
        Artifact.load(folder, [signer.trusted])
    assert refused.value.reason == "expired"
    assert peer_verifies(folder, new.public).returncode == 1
    new.sign(folder)
    assert Artifact.load(folder, [signer.trusted]).signed_by == new.id
    assert peer_verifies(folder, new.public).returncode == 0
