"""The version is the same wherever a release writes it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

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
