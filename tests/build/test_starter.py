"""What ``lading init`` writes is a model that learns and exports, and passes the linters that this code does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lading.build.examples import answer, targets
from lading.build.export.export import export_module
from lading.build.starter import write_starter
from lading.cli import app
from lading.errors import SpecError
from lading.import_string import load_spec
from lading.predictor import open_session
from lading.spec import check_spec
from tests.given.tiny import fit


def test_the_starter_learns_and_exports(tmp_path: Path) -> None:
    written = CliRunner().invoke(app, ["init", str(tmp_path / "my_model.py")])
    assert written.exit_code == 0
    assert f"lading build {tmp_path}/my_model.py:MyModel" in written.output
    spec = load_spec(f"{tmp_path}/my_model.py:MyModel")
    check_spec(spec)
    assert spec.name == "my-model"
    export_module(spec, fit(spec, steps=60), tmp_path / "fp32.onnx")
    examples = list(spec.dataset("test"))  # type: ignore[call-overload]
    assert spec.score(answer(open_session(tmp_path / "fp32.onnx"), spec, examples), targets(examples)) > 0.7


def test_the_starter_is_clean(tmp_path: Path) -> None:
    write_starter(tmp_path / "clean.py")
    config = Path(__file__).parents[2] / "pyproject.toml"
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--config", str(config), str(tmp_path)], check=True, capture_output=True)
    subprocess.run(
        [*ruff, "format", "--check", "--config", str(config), str(tmp_path)], check=True, capture_output=True
    )


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("mine")
    with pytest.raises(SpecError, match="is there already"):
        write_starter(tmp_path / "mine.py")
    assert (tmp_path / "mine.py").read_text() == "mine"
    with pytest.raises(SpecError, match="ends with"):
        write_starter(tmp_path / "my-model.py")
