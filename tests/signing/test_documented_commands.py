"""The commands of docs/signing.md, typed in their order, and what the page says that other programs sign."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lading.artifact import Artifact
from lading.errors import UntrustedError
from tests.given.documented import ROOT, commands
from tests.given.signed import Signer, peer
from tests.given.small_artifacts import table_artifact

OURS = ("lading keys", "lading sign", "lading verify", "export LADING_TRUSTED_KEYS", "python -m model_signing")


def test_the_commands_do_what_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    table_artifact(tmp_path / "artifacts" / "cards")
    page = [text for text in commands(ROOT / "docs/signing.md") if text.startswith(OURS)]
    assert {start for start in OURS if any(text.startswith(start) for text in page)} == set(OURS)
    typed = [*page, "lading verify-signature artifacts/cards"]  # by the variable, and of the other program's signature
    programs = f'lading() {{ {sys.executable} -m lading "$@"; }}; python() {{ {sys.executable} "$@"; }}'
    done = subprocess.run(
        ["bash", "-euc", "\n".join([programs, *typed])],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verification succeeded" in done.stdout + done.stderr
    assert done.stdout.count("is signed by key") == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--ignore-paths", "reference.json"], ""),
        (["--ignore-paths", "lading.json"], "does not cover lading.json"),
    ],
)
def test_a_signature_that_leaves_files_out(tmp_path: Path, options: list[str], sentence: str) -> None:
    """``lading.json`` vouches for what it lists, so it alone must be signed."""
    signer, folder = Signer(tmp_path), table_artifact(tmp_path / "table").path
    words: list[str | Path] = [
        "--private_key",
        signer.private,
        "--signature",
        folder / "model.sig",
        options[0],
        folder / options[1],
    ]
    done = peer("sign", "key", *words, folder)
    assert done.returncode == 0, done.stderr
    if not sentence:
        assert Artifact.load(folder, [signer.trusted]).signed_by == signer.id
        return
    with pytest.raises(UntrustedError, match=sentence):
        Artifact.load(folder, [signer.trusted])


def test_a_link_to_the_folder_is_followed(tmp_path: Path) -> None:
    signer, folder = Signer(tmp_path), table_artifact(tmp_path / "table").path
    signer.sign(folder)
    (tmp_path / "current").symlink_to(folder)
    assert Artifact.load(tmp_path / "current", [signer.trusted]).signed_by == signer.id
