"""The version is the same wherever a release writes it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import lading

ROOT = Path(__file__).parents[2]
PLACES = {
    "helm/lading/Chart.yaml": r"^(?:version|appVersion): \"?([\d.]+)\"?$",
    "docker/serve.Containerfile": r"^ARG VERSION=(.+)$",
    "docker/load.Containerfile": r"^ARG VERSION=(.+)$",
    "k8s/batch/rayjob.yaml": r"image: lading-batch:(.+)$",
    "Makefile": r"-t lading-batch:([\d.]+) ",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_release_has_one_version(place: str) -> None:
    found = re.findall(PLACES[place], (ROOT / place).read_text(), re.MULTILINE)
    assert set(found) == {lading.__version__}


def test_the_package_says_the_version_that_it_is_installed_as() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == lading.__version__


def test_every_place_names_the_same_versions_of_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pythons = [name.rpartition(" ")[2] for name in project["classifiers"] if name.startswith("Programming Language")]
    first, last = pythons[0], pythons[-1]
    assert project["requires-python"] == f">={first},<3.{int(last.removeprefix('3.')) + 1}"
    for file in ("Makefile", "README.md"):
        assert f"Python {first} to {last}" in (ROOT / file).read_text()
    assert f"Python {', '.join(pythons[:-1])} or {last}" in (ROOT / "CONTRIBUTING.md").read_text()
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yaml").read_text())["jobs"]
    assert [first, *jobs["pythons"]["strategy"]["matrix"]["python"]] == pythons
