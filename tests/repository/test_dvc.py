"""The DVC pipeline: a change reruns the stages that depend on it, and a remote restores their results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lading.artifact import Artifact
from lading.build.train.config import compose

ROOT = Path(__file__).parents[2]
PIPELINES = ROOT / "configs" / "dvc"
PIPELINE = """
stages:
  data:
    cmd: lading prepare tiny.py:TinyImage --out data.json
    deps: [tiny.py]
    outs: [data.json]
  train:
    cmd: >-
      lading train tiny.py:TinyImage trainer.max_epochs=6 optimizer.lr=${lr} data.batch_size=16 data.workers=0
      trainer.progress=false logger.wandb=false --out run
    deps: [data.json, tiny.py]
    params: [lr]
    outs: [run/tiny-image.safetensors, run/tiny-image.run.json]
  build:
    cmd: lading build tiny.py:TinyImage --checkpoint run/tiny-image.safetensors --out artifact
    deps: [run/tiny-image.safetensors, run/tiny-image.run.json]
    outs: [artifact]
"""


def stages() -> dict[str, dict[str, object]]:
    content: dict[str, dict[str, dict[str, object]]] = yaml.safe_load((PIPELINES / "dvc.yaml").read_text())
    return content["stages"]


@pytest.mark.parametrize(
    ("name", "target", "examples"),
    [("cards", "models/cards.py:Cards", "train_examples"), ("molecules", "models/molecules.py:Molecules", "molecules")],
)
def test_a_model_runs_from_data_to_artifact_with_commands_that_are_accepted(
    name: str, target: str, examples: str
) -> None:
    params = yaml.safe_load((PIPELINES / "params.yaml").read_text())[name]
    made = {stage: content for stage, content in stages().items() if stage.endswith(f"-{name}")}
    assert [stage.removesuffix(f"-{name}") for stage in made] == ["data", "train", "build"]
    words = str(made[f"train-{name}"]["cmd"]).split()
    overrides = [word for word in words if "=" in word and not word.startswith("LADING_DATA")]
    for key, value in params.items():
        overrides = [word.replace(f"${{{name}.{key}}}", str(value)) for word in overrides]
    config = compose(target, overrides)
    assert config.model[examples] == params[examples]
    assert config.init == params["init"]
    for stage in made.values():
        assert (PIPELINES / str(stage["wdir"])).resolve() == ROOT
        files = [file for group in stage.get("params", []) for file in group]  # type: ignore[attr-defined]
        assert set(files) <= {"configs/dvc/params.yaml"}
        missing = [dep for dep in stage["deps"] if not (ROOT / dep).exists() and not dep.startswith(("data/", "runs/"))]  # type: ignore[attr-defined]
        assert not missing


def test_a_stage_depends_on_folders_so_that_no_edit_of_their_code_is_missed() -> None:
    for stage in stages().values():
        code = [str(dep) for dep in stage["deps"] if str(dep).startswith("src/")]  # type: ignore[attr-defined]
        assert all((ROOT / dep).is_dir() for dep in code)
    assert "__pycache__" in (ROOT / ".dvcignore").read_text().split()


def test_the_configuration_has_no_secret_and_sends_no_usage_reports() -> None:
    config = (ROOT / ".dvc" / "config").read_text()
    assert "analytics = false" in config
    keys = {line.split("=")[0].strip() for line in config.splitlines() if "=" in line and not line.startswith("#")}
    assert keys == {"analytics", "autostage", "type"}, "a bucket is named by whom it belongs to"


def test_the_committed_lock_names_the_data_that_this_code_and_these_amounts_make() -> None:
    """A clone has no data yet, so they are "deleted". Anything else means: run `dvc repro` and commit ``dvc.lock``.

    `dvc commit --force` does for an edit that draws the same.
    """
    stages = ("data-cards", "data-molecules")
    command = [str(Path(sys.executable).with_name("dvc")), "status", "--json", *stages]
    done = subprocess.run(command, cwd=PIPELINES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    changes = {kind for found in json.loads(done.stdout).values() for change in found for kind in change}
    assert changes <= {"changed outs"}, done.stdout
    assert set(stages) <= set(yaml.safe_load((PIPELINES / "dvc.lock").read_text())["stages"])


@pytest.mark.slow
def test_a_changed_input_reruns_what_depends_on_it_and_a_remote_keeps_what_was_made(tmp_path: Path) -> None:
    repository, remote = tmp_path / "repository", tmp_path / "remote"
    repository.mkdir()
    shutil.copy(ROOT / "tests" / "given" / "tiny.py", repository / "tiny.py")
    (repository / "dvc.yaml").write_text(PIPELINE)
    (repository / "params.yaml").write_text("lr: 0.03\n")
    binaries = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}

    def run(*words: str, where: Path = repository) -> str:
        finished = subprocess.run(words, cwd=where, env=environment, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout + finished.stderr

    def ran(*words: str) -> list[str]:
        shown = run("dvc", "repro", *words)
        return [name for name in ("data", "train", "build") if f"Running stage '{name}'" in shown]

    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    run("git", "config", "user.email", "test@example.com")
    run("git", "config", "user.name", "test")
    run("dvc", "config", "core.analytics", "false")
    run("dvc", "remote", "add", "--local", "--default", "data", str(remote))
    assert ran() == ["data", "train", "build"]
    assert Artifact.load(repository / "artifact").manifest.name == "tiny-image"
    assert ran() == []

    weights = (repository / "run" / "tiny-image.safetensors").read_bytes()
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message", "results")
    run("dvc", "push", "--quiet")
    shutil.rmtree(repository / "run")
    shutil.rmtree(repository / ".dvc" / "cache")
    run("dvc", "pull", "--quiet")
    assert (repository / "run" / "tiny-image.safetensors").read_bytes() == weights

    # Another clone has dvc.lock from git, and what it names from the remote.
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", str(repository), str(clone))
    assert not (clone / "run" / "tiny-image.safetensors").exists()
    run("dvc", "remote", "add", "--local", "--default", "data", str(remote), where=clone)
    run("dvc", "pull", "--quiet", where=clone)
    assert (clone / "run" / "tiny-image.safetensors").read_bytes() == weights
    assert Artifact.load(clone / "artifact").digest == Artifact.load(repository / "artifact").digest
    assert "up to date" in run("dvc", "status", where=clone)

    (repository / "params.yaml").write_text("lr: 0.02\n")
    assert ran("train") == ["train"]
    assert json.loads(run("dvc", "status", "--json", "build")).keys() == {"build"}
    assert (repository / "run" / "tiny-image.safetensors").read_bytes() != weights
