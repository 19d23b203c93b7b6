"""Documented builds of images reach the builder with files and options that exist. ``.ci/cluster`` builds the image.

A stand-in for docker writes down how it was called.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from tests.given.documented import ROOT, Documented, Way, run_by
from tests.given.working_folder import WorkingFolder

COMMANDS = run_by(Way.IMAGE)
BUILT = [one for one in COMMANDS if one.words[0] in ("docker/build", "make")]
BUILDER = """#!/bin/sh
[ "$1" = build ] || exit 0
echo "$@" > called
"""


def image(one: Documented) -> str | None:
    """The image that a command names."""
    named = [word.removeprefix("IMAGE=") for word in one.words if ":" in word and not word.startswith("--")]
    return named[0] if named else None


@pytest.mark.slow
@pytest.mark.parametrize("one", BUILT, ids=str)
def test_a_documented_build_reaches_the_builder(one: Documented, folder: WorkingFolder, tmp_path: Path) -> None:
    path = tmp_path / "lading"
    shutil.copytree(folder.path, path, symlinks=True)
    for name in ("docker", "Makefile"):  # docker/build changes to the folder above its own
        (path / name).unlink()
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, path / name)
    (path / ".venv").symlink_to(ROOT / ".venv")
    builder = path / "programs" / "docker"
    builder.write_text(BUILDER)
    builder.chmod(0o755)
    old = "".join(f" -o {name}" for name in (".venv/.dev", ".venv/.build", "artifacts/cards/lading.json"))
    own = WorkingFolder(path, {"BUILDER": "docker", "MAKEFLAGS": ""})
    done = own.type(one.text.replace("make ", f"make{old} ", 1))
    assert done.returncode == 0, done.stdout + done.stderr
    called = (path / "called").read_text().split()
    options = dict(itertools.pairwise(called))
    assert (path / options["--file"]).is_file()
    assert options["--tag"] == (image(one) or options["--tag"])


def test_an_image_that_is_pushed_or_loaded_is_built_by_another_command() -> None:
    built = {image(one) for one in BUILT}
    moved = [one for one in COMMANDS if one.words[:2] in (["docker", "push"], ["kind", "load"])]
    assert moved
    assert {one.words[2 if one.words[0] == "docker" else 3] for one in moved} <= built


def test_each_command_is_of_a_tool_that_is_checked() -> None:
    others = {" ".join(one.words[:3]) for one in COMMANDS if one not in BUILT}
    assert others <= {*(f"docker push {image(one)}" for one in BUILT), "kind create cluster", "kind load docker-image"}
