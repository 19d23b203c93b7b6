"""The version is the same wherever a release writes it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import lading

ROOT = Path(__file__).parents[2]
PLACES = {
    "helm/lading/Chart.yaml": r"^(?:version|appVersion): \"?([\d.]+)\"?$",
    "k8s/batch/rayjob.yaml": r"image: lading-batch:(.+)$",
    "k8s/kserve/runtime.yaml": r"(?:/version: |helm.sh/chart: lading-)\"?([\d.]+)\"?$",
    "docs/gke.md": r"lading-batch:([\d.]+)",
    "CHANGELOG.md": r"\A.*?^## ([\d.]+)$",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_release_has_one_version(place: str) -> None:
    found = re.findall(
        PLACES[place], (ROOT / place).read_text(), re.MULTILINE | re.DOTALL if "CHANGELOG" in place else re.MULTILINE
    )
    assert set(found) == {lading.__version__}


def test_an_image_and_a_tag_get_the_version_of_the_package() -> None:
    read = "sed -n 's/^__version__ = \"\\(.*\\)\"/\\1/p' src/lading/__init__.py"
    for file in ("Makefile", "docker/build"):
        assert read in (ROOT / file).read_text(), file
    said = subprocess.run(["bash", "-c", read], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert said == lading.__version__
    for name in ("serve", "load"):
        assert "ARG VERSION=unknown\n" in (ROOT / "docker" / f"{name}.Containerfile").read_text()


@pytest.mark.parametrize(("tag", "code"), [(f"v{lading.__version__}", 0), ("v9.9.9", 1), (lading.__version__, 1)])
def test_a_tag_that_is_not_the_packages_version_releases_nothing(tag: str, code: int) -> None:
    done = subprocess.run([ROOT / ".ci" / "release", "check", tag], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr


def test_the_notes_of_a_release_are_its_section_of_the_changelog() -> None:
    tag = f"v{lading.__version__}"
    notes = subprocess.run([ROOT / ".ci" / "release", "notes", tag], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^### (\w+)$", notes, re.MULTILINE)[0] == "Added"
    assert "\n## " not in notes


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
    for workflow in ("deploy.yaml", "ci.yaml"):
        jobs = yaml.safe_load((ROOT / ".github" / "workflows" / workflow).read_text())["jobs"]
        assert [first, *jobs["pythons"]["strategy"]["matrix"]["python"]] == pythons
    assert jobs["systems"]["strategy"]["matrix"]["python"] == [first, last]
