"""Documented training is accepted as written: options by the command line, and overrides by Hydra.

tests/build runs each stage on small models.
"""

from __future__ import annotations

import re
import shlex

import pytest
import typer
import yaml

from lading.build.train.config import compose
from lading.build.train.sweep import read_sweep
from lading.cli import app
from tests.given.documented import ROOT, Documented, Way, run_by


@pytest.mark.parametrize("one", run_by(Way.TRAINING), ids=str)
def test_a_documented_training_is_accepted(one: Documented) -> None:
    words = [word.replace("...", "x") for word in one.words]
    if words[0] == "torchrun":
        accept_lading(words[words.index("-m") + 1 :])
    elif words[0] == "lading":
        accept_lading(words)
    elif words[:2] == ["wandb", "sweep"]:
        assert read_sweep(ROOT / words[2])["command"]
    elif words[:3] == ["dvc", "exp", "run"]:
        params = yaml.safe_load((ROOT / "configs" / "dvc" / "params.yaml").read_text())
        for word in words[4::2]:
            group, key = word.split("=")[0].split(".")
            assert key in params[group]
    else:
        assert words[0] == "dvc", f"nothing checks `{one.text}`"
        stages = yaml.safe_load((ROOT / "configs" / "dvc" / "dvc.yaml").read_text())["stages"]
        assert words[1] in ("repro", "push", "pull")
        assert {word for word in words[2:] if not word.startswith("-")} <= stages.keys()


def accept_lading(words: list[str]) -> None:
    """The command line takes the words, and Hydra the overrides among them."""
    _, name, *arguments = shlex.split(shlex.join(words).partition(" '>' ")[0])
    subcommand = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    with subcommand.make_context(name, arguments) as context:
        given = context.params
    if {"overrides", "model"} <= given.keys():
        assert compose(given["model"], given["overrides"] or []).target == given["model"]
    assert re.fullmatch(r"[a-z]+", name)
