"""The command line: help with examples, exit codes, and errors without a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lading import __version__
from lading.artifact import Artifact
from lading.cli import app, main
from lading.errors import GateRefusedError, LadingError, SpecError

COMMANDS = (
    *("train", "prune", "export", "quantize", "verify", "pack", "build", "inspect", "report", "serve"),
    *("prepare", "retrain", "sweep", "vertex"),
    *(
        "score",
        "doctor",
        "compare",
        "import",
        "init",
        "monitor",
        "load",
        "canary",
        "why",
        "values",
        "fetch",
        "check",
    ),
    *("image", "up", "down", "promote", "candidate"),
    *("sign", "verify-signature"),
)


def exit_code(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lading", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_the_commands_are_those_of_the_design() -> None:
    assert tuple(command.name or command.callback.__name__ for command in app.registered_commands) == COMMANDS  # type: ignore[union-attr]


def test_groups_of_commands_are_those_of_the_design() -> None:
    assert [group.typer_instance.info.name for group in app.registered_groups if group.typer_instance] == [
        "drift",
        "keys",
    ]


@pytest.mark.parametrize("cause", ["a file", "a device", "a long name"])
def test_what_a_disk_refuses_is_one_sentence(
    cause: str,
    tiny_artifact: Artifact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("mine")
    places = {
        "a file": (tmp_path / "file" / "page.html", "Give a folder, or move the file away"),
        "a device": (Path("/proc/version/page.html"), "Give a"),
        "a long name": (tmp_path / f"{'x' * 300}.html", "Give a shorter name"),
    }
    place, advice = places[cause]
    assert exit_code(monkeypatch, "report", str(tiny_artifact.path), "--out", str(place)) == 1
    told = capfd.readouterr().err
    assert advice in told
    assert "Traceback" not in told
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("command", ["drift check", "drift serve", "keys new", "keys show"])
def test_the_help_of_a_command_in_a_group_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert f"lading {command}" in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert f"Example: lading {command}" in " ".join(result.output.split())


def test_the_version_is_shown() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.strip() == __version__


def test_inspect_shows_an_artifact(
    tiny_artifact: Artifact, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(monkeypatch, "inspect", str(tiny_artifact.path)) == 0
    shown = capsys.readouterr().out
    assert "tiny-image" in shown
    assert "fp32" in shown


def test_report_writes_a_page(tiny_artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code(monkeypatch, "report", str(tiny_artifact.path), "--out", str(tmp_path / "r.html")) == 0
    assert tiny_artifact.digest in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["inspect", "nowhere"], 1, "Artifact: nowhere is not an artifact"),
        (["export", "models/nothing.py:Cards"], 2, "Spec: there is no file"),
        (
            ["train", "tests/given/tiny.py:TinyImage", "optimizer.speed=1"],
            2,
            "Spec: the training configuration is wrong",
        ),
        (["verify", "tests/given/tiny.py:TinyImage", "--variants", "nowhere"], 1, "run `lading quantize` first"),
        (["prune", "tests/given/tiny.py:TinyImage"], 2, "`lading train tests/given/tiny.py:TinyImage --out"),
        (["export", "tests/given/tiny.py:TinyImage"], 2, "`lading train tests/given/tiny.py:TinyImage --out"),
        (["prune", "tests/given/tiny.py:TinyImage", "optimizer.lr=1"], 2, "optimizer.lr=1 would have no effect"),
        (["build", "models/cards.py:Cards", "optimizer.lr=1", "prune.lr=2"], 2, "optimizer.lr=1 prune.lr=2 would have"),
        (["pack", "model.onnx", "--checkpoint", "w.safetensors"], 2, "--checkpoint would have no effect"),
        (["pack", "tests/given/tiny.py:TinyImage", "--name", "a"], 2, "--name would have no effect"),
        (
            ["verify", "tests/given/tiny.py:TinyImage", "--checkpoint", "w.safetensors"],
            2,
            "no checkpoint w.safetensors",
        ),
        (["prepare", "tests/given/tiny.py:TinyImage", "seed=1"], 2, "seed=1 would have no effect"),
        (["inspect"], 2, "Missing argument"),
        (["build", "models/cards.py:Cards", "--effort", "some"], 2, "is not one of"),
        (["sail"], 2, "No such command"),
    ],
)
def test_a_mistake_is_one_sentence_and_an_exit_code(
    arguments: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code(monkeypatch, *arguments) == code
    shown = " ".join(capsys.readouterr().err.split())
    assert message in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(("error", "code"), [(LadingError, 1), (SpecError, 2), (GateRefusedError, 3)])
def test_every_error_has_its_exit_code(error: type[LadingError], code: int) -> None:
    assert error.exit_code == code


@pytest.mark.slow
def test_a_new_model_is_built_inspected_and_refused_through_the_command_line(tmp_path: Path) -> None:
    """The whole path in one folder: train, prune nothing, export, quantize, verify, pack; then a gate that refuses."""
    model = Path(__file__).parents[1].joinpath("given", "tiny.py").read_text()
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "tiny.py").write_text(model)
    (folder / "strict.py").write_text(
        "from lading import Budget\nfrom tiny import TinyImage\n\n\n"
        'class Strict(TinyImage):\n    name = "strict"\n    budget = Budget(min_score=1.01)\n'
    )
    lading = [str(Path(sys.executable).with_name("lading"))]
    fast = ["data.workers=0", "trainer.max_epochs=6", "optimizer.lr=0.03", "data.batch_size=16"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*lading, *arguments], cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )

    built = run("build", "tiny.py:TinyImage", *fast)
    assert built.returncode == 0, built.stderr + built.stdout
    assert Artifact.load(folder / "artifacts" / "tiny-image").manifest.provenance.spec == "tiny.py:TinyImage"
    assert (folder / "build" / "tiny-image" / "verify" / "report.html").is_file()
    stage = folder / "build" / "tiny-image"
    assert run("quantize", "tiny.py:TinyImage").returncode == 0
    assert json.loads((stage / "variants" / "variants.json").read_text())
    assert run("inspect", "artifacts/tiny-image").returncode == 0
    refused = run("build", "strict.py:Strict", *fast)
    assert refused.returncode == 3, refused.stderr + refused.stdout
    assert "below the minimum of 1.0100" in " ".join(refused.stderr.split())
    assert not (folder / "artifacts" / "strict").exists()
