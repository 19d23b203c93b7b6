"""The wheel and the sdist run outside the repository: the README's commands, word for word, in fresh environments."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

import httpx
import pytest

from lading.artifact import Artifact
from tests.given.documented import ROOT, commands
from tests.given.served_process import serving

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]
UV = str(Path(sys.executable).with_name("uv"))
STARTED = [command for command in commands(ROOT / "README.md") if "my_model" in command or "my-model" in command]
"""The README's commands for the file that ``lading init`` writes."""


@dataclass(frozen=True)
class Installed:
    """A virtual environment that holds this package, and an empty folder to work in."""

    environment: Path
    folder: Path

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, as a shell that activated it does."""
        return subprocess.run(
            [str(self.environment / "bin" / words[0]), *words[1:]],
            cwd=self.folder,
            env=outside(self.folder, **variables),
            capture_output=True,
            text=True,
            check=False,
        )


def outside(folder: Path, **variables: str) -> dict[str, str]:
    """Environment variables with which no program finds the repository."""
    bento = {"BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "true"}
    return {**os.environ, "PYTHONPATH": "", "COLUMNS": "200", **bento, **variables}


def uv(*words: str, cwd: Path = ROOT) -> None:
    done = subprocess.run([UV, *words], cwd=cwd, env=outside(cwd), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel and an sdist, each built from the checkout."""
    folder: Path = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--sdist", "--wheel", "--python", sys.executable, "--out-dir", str(folder), str(ROOT))
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (file,) = dist.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def complete(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, with the dependencies that these tests run with: torch alone takes minutes to copy."""
    folder: Path = tmp_path_factory.mktemp("complete")
    installed = Installed(folder / "venv", folder / "work")
    installed.folder.mkdir()
    install(installed.environment, wheel)
    packages = site_packages(installed.environment)
    # A path in a .pth file comes after the environment's own packages, and its own .pth files are not read. So this
    # environment sees the dependencies, and not the editable install of the checkout.
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return installed


@pytest.fixture(scope="module")
def serving_only(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel with the extra ``serve`` as it is locked, and nothing else."""
    folder: Path = tmp_path_factory.mktemp("serve")
    installed = Installed(folder / "venv", folder / "work")
    installed.folder.mkdir()
    install(installed.environment, wheel, requirements=ROOT / "requirements" / "serve.txt")
    return installed


@pytest.fixture(scope="module")
def built(complete: Installed) -> Artifact:
    """The artifact after the README's commands up to ``lading serve``."""
    *before, last = [shlex.split(command) for command in STARTED]
    assert last == ["lading", "serve", "artifacts/my-model"]
    for words in before:
        done = complete.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "serve it with `bentoml serve my-model:latest`" in done.stdout
    return Artifact.load(complete.folder / "artifacts" / "my-model")


def install(environment: Path, package: Path, requirements: Path | None = None) -> None:
    uv("venv", "--quiet", "--python", sys.executable, str(environment))
    python = str(environment / "bin" / "python")
    if requirements:
        uv("pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(requirements))
    uv("pip", "install", "--quiet", "--python", python, "--no-deps", str(package))


def site_packages(environment: Path) -> Path:
    (folder,) = environment.glob("lib/python3*/site-packages")
    return folder


def files(package: Path) -> dict[str, bytes]:
    """Every file of an installed package, without what Python compiles."""
    found = (path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(package)): path.read_bytes() for path in found}


def test_the_package_is_the_wheels(complete: Installed) -> None:
    done = complete.run("python", "-c", "import lading, torch; print(lading.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(complete.environment), done.stderr


def test_the_readme_starts_a_model_builds_it_and_serves_it(complete: Installed, built: Artifact) -> None:
    assert built.manifest.name == "my-model"
    bento = next((complete.folder / "bentoml" / "bentos" / "my-model").glob("*/src"))
    assert {"service.py", "lading", "artifact"} <= {path.name for path in bento.iterdir()}
    assert answers(complete, built)


def test_serving_needs_neither_bentoml_nor_torch(serving_only: Installed, built: Artifact) -> None:
    for absent in ("bentoml", "torch"):
        assert "ModuleNotFoundError" in serving_only.run("python", "-c", f"import {absent}").stderr
    doctor = serving_only.run("lading", "doctor", str(built.path), LADING_HTTP_PORT="0", LADING_GRPC_PORT="0")
    assert doctor.returncode == 0, doctor.stdout
    assert answers(serving_only, built)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("build my_model.py:MyModel --bento", "building a Bento needs BentoML: pip install 'lading[bento]'"),
        ("train my_model.py:MyModel", "this command needs lightning: pip install 'lading[build]'"),
    ],
)
def test_a_command_without_its_extra_names_it(serving_only: Installed, command: str, sentence: str) -> None:
    done = serving_only.run("lading", *command.split())
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_the_sdist_installs_the_files_of_the_wheel(dist: Path, complete: Installed, tmp_path: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    install(tmp_path / "venv", sdist)
    from_sdist = files(site_packages(tmp_path / "venv") / "lading")
    assert from_sdist == files(site_packages(complete.environment) / "lading")
    of_the_repository = {"service.py", "requirements/bento.txt", "docker/build", "helm/lading/Chart.yaml"}
    assert {f"shipped/{name}" for name in of_the_repository} <= from_sdist.keys()
    assert {"py.typed", "serve/pages/page.html"} <= from_sdist.keys()


def test_the_metadata_is_what_an_index_shows(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith("dist-info/METADATA"))
        header = HeaderParser().parsestr(archive.read(metadata).decode())
    assert header["License-Expression"] == "Apache-2.0"
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)
    assert header["Description-Content-Type"] == "text/markdown"
    assert str(header.get_payload()).strip() == (ROOT / "README.md").read_text().strip()
    assert not [name for name in names if not name.startswith("lading")]


def answers(installed: Installed, artifact: Artifact) -> bool:
    """Whether ``lading serve`` of an environment answers that the sum of four positive numbers is positive."""
    log = installed.folder / "serve.log"
    program = [str(installed.environment / "bin" / "lading")]
    with serving(artifact.path, log, program=program, cwd=installed.folder, PYTHONPATH="") as server:
        answer = httpx.post(f"{server.url}/predict", json={"features": [[1.0, 2.0, 3.0, 4.0]]})
    assert answer.status_code == 200, answer.text
    negative, positive = answer.json()["outputs"]["sign"][0]
    return bool(positive > negative)
