"""The Bento: what it is called, what it holds, and that it serves from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lading.artifact import Artifact
from lading.build.bento import bento_name, build_bento
from lading.errors import ArtifactError, BentoError
from tests.given.bentoml_process import ROOT, red, served


@pytest.mark.parametrize(("model", "name"), [("cards", "cards"), ("_Cards-", "cards"), ("my_model.v2", "my_model.v2")])
def test_a_bento_is_named_after_its_model_as_bentoml_allows(model: str, name: str) -> None:
    assert bento_name(model) == name


def test_no_bento_is_built_of_a_torn_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is not an artifact: it has no lading\.json"):
        build_bento(tmp_path)


@pytest.fixture(scope="module")
def tag(artifact: Artifact, bentoml_home: Path) -> str:
    return build_bento(artifact.path)


def names_in(requirements: str) -> set[str]:
    pinned = (line for line in requirements.splitlines() if "==" in line and not line.startswith((" ", "#")))
    return {line.split("==")[0] for line in pinned}


def test_a_bento_is_tagged_with_its_model_and_the_digest_of_its_artifact(tag: str, artifact: Artifact) -> None:
    name, version = tag.split(":")
    assert name == "small-colour"
    assert version.startswith(f"1-{artifact.digest[7:19]}-")


def test_a_bento_holds_the_artifact_the_source_and_the_requirements_of_serving(
    tag: str, artifact: Artifact, bentoml_home: Path
) -> None:
    bento = bentoml_home / "bentos" / tag.replace(":", "/")
    assert Artifact.load(bento / "src" / "artifact").digest == artifact.digest
    assert (bento / "src" / "lading" / "serve" / "pages" / "page.html").is_file()
    assert not list((bento / "src").rglob("__pycache__"))
    required = names_in((bento / "env" / "python" / "requirements.txt").read_text())
    assert required == names_in((ROOT / "requirements" / "bento.txt").read_text())
    assert {"bentoml", "onnxruntime"} <= required
    assert not required & {"torch", "torchvision", "lightning", "onnx", "onnxscript", "hydra-core", "wandb"}


def test_what_bentoml_refuses_is_passed_on(
    artifact: Artifact, bentoml_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bentos").write_text("a file where the store should be")
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    with pytest.raises(BentoError, match="BentoML did not build the Bento: "):
        build_bento(artifact.path)


@pytest.mark.slow
def test_a_built_bento_serves_from_elsewhere_with_its_own_source(tag: str, bentoml_home: Path, tmp_path: Path) -> None:
    # A mark in the Bento's own copy of the source shows which one runs.
    package = bentoml_home / "bentos" / tag.replace(":", "/") / "src" / "lading" / "__init__.py"
    package.write_text(package.read_text().replace('__version__ = "', '__version__ = "bento-'))
    with served("small-colour:latest", cwd=tmp_path) as client:
        assert client.post("/classify", content=red()).json()["colour"] == "red"
        assert "Lading bento-" in client.get("/docs.json").json()["info"]["description"]


@pytest.mark.slow
def test_bentoml_build_at_the_root_reads_the_bentofile(bentoml_home: Path) -> None:
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    tag = result.stdout.strip().removeprefix("__tag__:")
    source = bentoml_home / "bentos" / tag.replace(":", "/") / "src"
    assert tag.startswith("cards:")
    assert {"service.py", "lading"} <= {path.name for path in source.iterdir()}
    assert not list(source.rglob("__pycache__"))
    assert (source / "lading" / "serve" / "pages" / "page.html").is_file()
