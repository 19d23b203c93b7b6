"""The sweep file: read by W&B, and run here without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from typer.testing import CliRunner

from lading.config import compose
from lading.errors import SpecError
from lading.sweep import app, read_sweep, trials

SWEEP = Path("configs/sweeps/cards.yaml")


def test_the_cards_sweep_samples_commands_that_training_accepts() -> None:
    commands = list(trials(read_sweep(SWEEP), count=8))
    assert len(commands) == 8
    for command in commands:
        assert command[:3] == ["lading", "train", "models/cards.py:Cards"]
        config = compose(command[2], command[3:])
        assert 0.0005 <= config.optimizer.lr <= 0.01
        assert 32 <= config.data.batch_size <= 96
    assert len({tuple(command) for command in commands}) == 8


def test_the_same_seed_samples_the_same_trials() -> None:
    sweep = read_sweep(SWEEP)
    assert list(trials(sweep, 3, seed=1)) == list(trials(sweep, 3, seed=1))
    assert list(trials(sweep, 3, seed=1)) != list(trials(sweep, 3, seed=2))


def test_a_grid_runs_through_every_combination() -> None:
    sweep = {
        "method": "grid",
        "command": ["train", "${args_no_hyphens}"],
        "parameters": {"a": {"values": [1, 2]}, "b": {"value": "x"}},
    }
    assert list(trials(sweep, 9)) == [["train", "a=1", "b=x"], ["train", "a=2", "b=x"]]


def test_each_kind_of_range_is_sampled_inside_its_bounds() -> None:
    parameters = {"u": {"min": 0.0, "max": 1.0}, "i": {"min": 1, "max": 3}, "v": {"value": 7}}
    sweep = {"method": "random", "command": ["${args_no_hyphens}"], "parameters": parameters}
    for command in trials(sweep, 30):
        values = dict(word.split("=") for word in command)
        assert 0 <= float(values["u"]) <= 1
        assert values["i"] in {"1", "2", "3"}
        assert values["v"] == "7"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "bayes"}, "needs W&B's server"),
        ({"parameters": {"a": {"distribution": "normal", "min": 0, "max": 1}}}, "'normal'"),
        ({"method": "grid", "parameters": {"a": {"min": 0, "max": 1}}}, "has no values"),
    ],
)
def test_what_only_the_server_can_sample_is_refused(change: dict[str, object], message: str) -> None:
    sweep = {"method": "random", "command": ["x"], "parameters": {}} | change
    with pytest.raises(SpecError, match=message):
        list(trials(sweep, 1))


def test_trials_run_one_after_another_until_one_fails(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = "import sys; open(sys.argv[1], 'a').write(' '.join(sys.argv[2:]) + '\\n'); sys.exit('a=2' in sys.argv)"
    sweep = {
        "method": "grid",
        "command": [sys.executable, "-c", program, str(log), "${args_no_hyphens}"],
        "parameters": {"a": {"values": [1, 2, 3]}},
    }
    file = tmp_path / "sweep.yaml"
    OmegaConf.save(sweep, file)
    result = CliRunner().invoke(app, [str(file), "extra=x", "--count", "3"])
    assert result.exit_code == 1
    assert log.read_text().splitlines() == ["a=1 extra=x", "a=2 extra=x"]
    assert "trial 2 of 3" in result.output


@pytest.mark.slow
def test_two_trials_of_the_cards_sweep_run_offline(tmp_path: Path) -> None:
    small = ["model.train_examples=106", "data.workers=0", "trainer.max_steps=1", "trainer.progress=false"]
    sweep = read_sweep(SWEEP)
    sweep["command"][0] = str(Path(sys.executable).with_name("lading"))
    file = tmp_path / "sweep.yaml"
    OmegaConf.save(sweep, file)
    command = [sys.executable, "-m", "lading.sweep", str(file), *small, "--count", "2"]
    finished = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("checkpoint: ") == 2
