"""Every Containerfile finds what it copies: the files are in the repository, and .dockerignore lets them pass."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docker").glob("*.Containerfile"))
SETS = ("bento", "serve", "drift")
"""The lock files of docker/serve.Containerfile."""


def hidden(path: str, rules: list[str]) -> bool:
    """Whether a build does not see the path. As in Docker, the last rule that matches it or a folder above decides."""
    above = [path, *(str(parent) for parent in PurePosixPath(path).parents)][:-1]
    verdict = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        patterns = (pattern, pattern.removeprefix("**/"))
        names = [part for one in above for part in (one, one.rpartition("/")[2] if "**/" in pattern else one)]
        if any(fnmatch(name, one) for name in names for one in patterns):
            verdict = not rule.startswith("!")
    return verdict


def sources(containerfile: Path) -> set[str]:
    """What a file copies from the repository, with each value of REQUIREMENTS."""
    text = containerfile.read_text().replace("\\\n", " ")
    copied = {
        word
        for line in re.findall(r"^COPY +(?!--from)(.+)$", text, re.MULTILINE)
        for word in line.split()[:-1]
        if not word.startswith("--")
    }
    return {word.replace("${REQUIREMENTS}", name) for word in copied for name in SETS} - {"${ARTIFACT}"}


def rules() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("containerfile", FILES, ids=[file.stem for file in FILES])
def test_a_build_sees_every_file_that_it_copies(containerfile: Path) -> None:
    found = sources(containerfile)
    assert found
    for source in found:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", source],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout.split()
        assert listed or source.startswith("build/"), f"{source} is not in the repository"
        assert not [file for file in listed or [source] if hidden(file, rules())]


def test_a_hidden_folder_would_be_found() -> None:
    assert hidden("frontend/app.py", [rule for rule in rules() if rule != "!frontend"])
    assert hidden("src/lading/__pycache__/cli.pyc", rules())
    assert hidden("tests/conftest.py", rules())
    assert not hidden("frontend/app.py", rules())


def test_docker_build_knows_every_containerfile() -> None:
    script = (ROOT / "docker" / "build").read_text()
    kinds = {file.stem for file in FILES} | {"runtime", "drift"}
    first = re.search(r"^kind=\$\{1:\?([^}]*)\}", script, re.MULTILINE)
    assert first
    assert set(re.split(r", | or ", first[1])) == kinds
