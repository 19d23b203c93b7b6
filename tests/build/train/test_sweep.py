"""The sweep file: read by W&B, and run here by Hydra and Optuna."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from lading.build.train.checkpoint import read_card
from lading.build.train.config import compose
from lading.build.train.sweep import multirun_arguments, read_sweep, run_sweep, sweep_table
from lading.errors import SpecError

SWEEP = Path("configs/sweeps/cards.yaml")
COMMAND = ["lading", "train", "tests/given/tiny.py:TinyImage", "data.workers=0", "trainer.max_epochs=1"]
QUIET = ["trainer.progress=false", "logger.wandb=false", "trainer.threads=1"]


def sweep_file(folder: Path, **changes: Any) -> Path:
    content = {
        "command": [*COMMAND, "${args_no_hyphens}"],
        "method": "bayes",
        "metric": {"name": "valid/score", "goal": "maximize"},
        "parameters": {
            "optimizer.lr": {"distribution": "log_uniform_values", "min": 0.0001, "max": 0.1},
            "data.batch_size": {"distribution": "int_uniform", "min": 16, "max": 32},
        },
    }
    OmegaConf.save(content | changes, folder / "sweep.yaml")
    return folder / "sweep.yaml"


def test_trials_are_trained_one_after_another_and_the_best_is_named(tmp_path: Path) -> None:
    file = sweep_file(tmp_path)
    trials = run_sweep(file, QUIET, tmp_path / "out", count=3)
    assert len(trials) == 3
    assert [one.value for one in trials] == sorted((one.value for one in trials), reverse=True)
    for trial in trials:
        card = read_card(trial.folder / "tiny-image.safetensors")
        assert card is not None
        assert card.metrics["valid/score"] == trial.value
        assert card.config["optimizer"]["lr"] == trial.parameters["optimizer.lr"]
        assert 0.0001 <= trial.parameters["optimizer.lr"] <= 0.1
        assert trial.parameters["data.batch_size"] in range(16, 33)
        assert card.config["trainer"]["max_epochs"] == 1
    assert len({trial.parameters["optimizer.lr"] for trial in trials}) == 3
    assert sweep_table(read_sweep(file), trials).row_count == 3


def test_a_grid_runs_through_every_combination(tmp_path: Path) -> None:
    grid = {"data.batch_size": {"values": [16, 32]}, "optimizer.lr": {"value": 0.01}}
    trials = run_sweep(sweep_file(tmp_path, method="grid", parameters=grid), QUIET, tmp_path / "out", count=9)
    assert sorted(trial.parameters["data.batch_size"] for trial in trials) == [16, 32]


def test_the_cards_sweep_is_understood_by_training() -> None:
    words = multirun_arguments(read_sweep(SWEEP), Path("out"), count=2, seed=0)
    assert "optimizer.lr=tag(log, interval(0.0005,0.01))" in words
    assert "data.batch_size=int(interval(32,96))" in words
    keys = [word.split("=")[0] for word in words if not word.startswith("hydra")]
    config = compose("models/cards.py:Cards", [])
    assert all(OmegaConf.select(config, key) is not None for key in keys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "hyperband"}, "method 'hyperband' is not one of: bayes, random, grid"),
        ({"parameters": {"a": {"distribution": "normal", "min": 0, "max": 1}}}, "'normal', which only W&B's server"),
        ({"method": "grid", "parameters": {"a": {"min": 0, "max": 1}}}, "has no values"),
        ({"metric": {"name": "valid/score", "goal": "more"}}, "neither maximize nor minimize"),
        ({"command": ["python", "x.py"]}, r"the command is \[lading, train"),
    ],
)
def test_what_cannot_be_sampled_here_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        run_sweep(sweep_file(tmp_path, **change), QUIET, tmp_path / "out", count=1)
    with pytest.raises(SpecError, match="there is no sweep file"):
        read_sweep(tmp_path / "nothing.yaml")


def test_a_metric_that_no_run_has_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = sweep_file(tmp_path, metric={"name": "valid/speed", "goal": "maximize"})
    with pytest.raises(SpecError, match="'valid/speed' is not one of a run's: valid/score"):
        run_sweep(file, QUIET, tmp_path / "out", count=1)


@pytest.mark.slow
def test_the_command_shows_a_table_of_the_trials(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lading", "sweep", str(sweep_file(tmp_path)), *QUIET, "--count", "2"]
    finished = subprocess.run(
        [*command, "--out", str(tmp_path / "out")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "optimizer.lr" in finished.stdout
    assert f"best: {tmp_path}" in finished.stdout.replace("\n", "")
