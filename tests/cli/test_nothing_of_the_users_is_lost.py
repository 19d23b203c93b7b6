"""A command that writes a folder leaves what it finds there, or refuses to start. One test over all of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lading.artifact import MANIFEST, Artifact
from lading.cli import app
from lading.errors import OccupiedError
from tests.given.changed_artifacts import with_costs
from tests.given.tiny import TinyImage, fit

MODEL = "tests/given/tiny.py:TinyImage"
QUICK = ("trainer.max_epochs=1", "trainer.progress=false", "logger.wandb=false", "data.workers=0")
TUNED = ("prune.max_epochs=1", "prune.round_to=1", *QUICK[1:])


@dataclass(frozen=True)
class Writing:
    """A command that writes a folder."""

    command: Callable[[Path, Path], list[str]]
    """Its words, given the folder to write and a folder with an artifact, its graph and weights."""
    writes: tuple[str, ...]
    """Names that it writes there, and that a user may have used before."""
    keeps: bool = False
    """It starts when none of these names is there, and leaves other files. Otherwise it replaces the folder."""


WRITING = {
    "pack": Writing(
        lambda out, given: ["pack", str(given / "graph.onnx"), "--out", str(out)], (MANIFEST, "variants/fp32.onnx")
    ),
    "build": Writing(
        lambda out, given: ["build", MODEL, "--checkpoint", str(given / "tiny-image.safetensors"), "--out", str(out)],
        (MANIFEST, "variants/fp32.onnx"),
    ),
    "fetch": Writing(
        lambda out, given: ["fetch", str(given / "artifact"), "--digest", digest(given), "--out", str(out)],
        (MANIFEST, "golden/inputs.npz"),
    ),
    "monitor": Writing(
        lambda out, given: ["monitor", str(given / "measured"), "--out", str(out)],
        ("alerts.yaml", "overview.json", "chart/values.yaml", "gke/rules.yaml"),
        keeps=True,
    ),
    "train": Writing(
        lambda out, _: ["train", MODEL, *QUICK, "--out", str(out)],
        ("tiny-image.safetensors", "begun.json"),
        keeps=True,
    ),
    "export": Writing(
        lambda out, given: ["export", MODEL, "--checkpoint", str(given / "tiny-image.safetensors"), "--out", str(out)],
        ("fp32.onnx", "made_of.json"),
        keeps=True,
    ),
    "quantize": Writing(
        lambda out, given: ["quantize", MODEL, "--exported", str(given / "export"), "--out", str(out)],
        ("fp32.onnx", "made_of.json"),
        keeps=True,
    ),
    "prune": Writing(
        lambda out, given: [
            *("prune", MODEL, *TUNED, "--share", "0.3", "--out", str(out)),
            *("--checkpoint", str(given / "tiny-image.safetensors")),
        ],
        ("tiny-image-pruned30.safetensors",),
        keeps=True,
    ),
}
OTHERWISE = {
    "verify": "tests/build/verify/test_verify.py",
    "load": "tests/deploy/load/test_run.py",
    "sweep": "one folder a trial, by its number",
}
"""Commands whose folders the same function claims, tested where they are run."""


def digest(given: Path) -> str:
    return Artifact.load(given / "artifact").digest


def contents(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, tiny_artifact: Artifact) -> Path:
    from lading.build.train.checkpoint import new_card, save_checkpoint

    folder = tmp_path_factory.mktemp("given")
    shutil.copytree(tiny_artifact.path, folder / "artifact")
    shutil.copy(folder / "artifact" / "variants" / "fp32.onnx", folder / "graph.onnx")
    module = fit(TinyImage())
    save_checkpoint(folder / "tiny-image.safetensors", module, new_card(TinyImage(), module, run_id="abc", steps=3))
    exported = [
        "export",
        MODEL,
        "--checkpoint",
        str(folder / "tiny-image.safetensors"),
        "--out",
        str(folder / "export"),
    ]
    assert CliRunner().invoke(app, exported).exit_code == 0
    with_costs(tiny_artifact, folder / "measured", {1: 0.1, 8: 0.2})
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with a user's files, none of which has a name that a command writes."""
    folder = tmp_path / "mine"
    for name in ("notes.txt", "more.yaml", "more.json", "deep/photo.jpg", "gke/policies/mine.yaml", ".hidden"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"mine: {name}\n")
    return folder


def test_every_command_that_writes_a_folder_is_here() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    found = {
        name
        for name, command in commands.items()
        for option in command.params
        if option.name == "out" and "folder" in (option.help or "")
    }
    assert found == WRITING.keys() | OTHERWISE.keys()


@pytest.mark.parametrize(("name", "taken"), [(name, taken) for name in WRITING for taken in WRITING[name].writes])
def test_a_name_that_is_taken_is_refused_in_a_sentence(name: str, taken: str, mine: Path, given: Path) -> None:
    (mine / taken).parent.mkdir(parents=True, exist_ok=True)
    (mine / taken).write_text(json.dumps({"files": ["notes.txt"], "uid": "mine"}))
    before = contents(mine)
    result = CliRunner().invoke(app, WRITING[name].command(mine, given))
    assert isinstance(result.exception, OccupiedError), result.output
    assert str(mine) in str(result.exception)
    assert contents(mine) == before


@pytest.mark.parametrize("name", [name for name in WRITING if not WRITING[name].keeps])
def test_a_folder_with_other_files_is_not_replaced(name: str, mine: Path, given: Path) -> None:
    before = contents(mine)
    result = CliRunner().invoke(app, WRITING[name].command(mine, given))
    assert isinstance(result.exception, OccupiedError), result.output
    assert contents(mine) == before


@pytest.mark.parametrize("name", [name for name in WRITING if WRITING[name].keeps])
def test_other_files_stay_where_a_command_writes_and_writes_again(name: str, mine: Path, given: Path) -> None:
    before = contents(mine)
    for _ in range(1 if name == "train" else 2):
        result = CliRunner().invoke(app, WRITING[name].command(mine, given))
        assert result.exit_code == 0, result.output
        assert before.items() <= contents(mine).items()
    assert contents(mine).keys() > before.keys()


@pytest.mark.parametrize("more", [None, "notes.txt", "variants/notes.txt"])
def test_an_artifact_is_replaced_unless_something_lies_in_it(more: str | None, tmp_path: Path, given: Path) -> None:
    out = tmp_path / "artifact"
    shutil.copytree(given / "artifact", out)
    if more:
        (out / more).write_text("mine")
    before = contents(out)
    result = CliRunner().invoke(app, WRITING["pack"].command(out, given))
    assert (result.exit_code == 0) == (more is None), result.output
    assert (contents(out) == before) == (more is not None)


@pytest.mark.parametrize("there", [True, False])
def test_an_empty_or_a_missing_folder_is_filled(there: bool, tmp_path: Path, given: Path) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()
    result = CliRunner().invoke(app, WRITING["fetch"].command(out, given))
    assert result.exit_code == 0, result.output
    assert Artifact.load(out).digest == digest(given)


def test_an_slo_that_was_edited_is_kept_and_used(tmp_path: Path, given: Path) -> None:
    words = WRITING["monitor"].command(tmp_path, given)
    assert CliRunner().invoke(app, words).exit_code == 0
    (file,) = (tmp_path / "slos").iterdir()
    edited = file.read_text().replace("window_days: 30", "window_days: 7")
    assert edited != file.read_text()
    file.write_text(edited)
    result = CliRunner().invoke(app, words)
    assert "is kept" in result.output
    assert "over 7 days" in result.output
    assert file.read_text() == edited
