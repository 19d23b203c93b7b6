"""Documented targets of make exist, and something runs each of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from lading.artifact import Artifact
from tests.given.documented import ROOT, Documented, Way, run_by
from tests.given.working_folder import WorkingFolder
from tools.stack import free_port

OLD = " ".join(f"-o {name}" for name in (".venv/.dev", ".venv/.build", "artifacts/molecules/lading.json"))
"""What make may not make again: the tests run with it."""


@pytest.mark.parametrize("one", run_by(Way.MAKE), ids=str)
def test_make_knows_the_target_and_something_runs_it(one: Documented) -> None:
    result = subprocess.run(["make", "-n", *one.words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert one.row is not None
    assert one.row.by, "name what runs it"


def test_make_help_lists_the_documented_targets() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    named = {word for one in run_by(Way.MAKE) for word in one.words[1:] if re.fullmatch(r"[a-z-]+", word)}
    assert not {name for name in named if f"  {name} " not in shown} - {"help"}


@pytest.mark.slow
def test_make_serve_molecules_answers_the_pages_request(
    folder: WorkingFolder, molecules: Artifact, tmp_path: Path
) -> None:
    path = tmp_path / "lading"
    shutil.copytree(folder.path, path, symlinks=True)
    (path / "artifacts" / "molecules").symlink_to(molecules.path)
    (path / ".venv").symlink_to(ROOT / ".venv")
    port = free_port()
    own = WorkingFolder(path, {"LADING_GRPC_PORT": "0", "MAKEFLAGS": ""})
    with own.running(f"make {OLD} serve-molecules PORT={port}", "ready"):
        answer = httpx.post(f"http://127.0.0.1:{port}/predict/smiles", content="CC(=O)Oc1ccccc1", timeout=60)
        assert answer.status_code == 200, answer.text
