"""Steps of training that do less: with parts frozen, or compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from lading.build.train.checkpoint import load_checkpoint
from lading.build.train.config import compose
from lading.build.train.train import train
from lading.errors import SpecError
from tests.given.tiny import TinyImage

TARGET = "tests/given/tiny.py:TinyImage"
FAST = [
    *("data.workers=0", "data.batch_size=16", "optimizer.lr=0.03"),
    *("trainer.progress=false", "trainer.threads=1", "trainer.max_epochs=1", "logger.wandb=false"),
]


def composed(*overrides: str) -> DictConfig:
    return compose(TARGET, [*FAST, *overrides])


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to begin with."""
    return train(TinyImage(), composed(), tmp_path_factory.mktemp("start"))


def test_frozen_parts_keep_their_weights_and_the_statistics_of_their_norms(start: Path, tmp_path: Path) -> None:
    path = train(TinyImage(), composed(f"init='{start}'", "optimizer.freeze=[features.0,features.1]"), tmp_path)
    (before, _), (after, _) = (load_checkpoint(TinyImage(), file) for file in (start, path))
    kept, learned = before.state_dict(), after.state_dict()
    same = {name for name in kept if torch.equal(kept[name], learned[name])}
    assert {name for name in kept if name.startswith(("features.0.", "features.1."))} <= same
    assert "colour.weight" not in same
    with pytest.raises(
        SpecError, match=r"freeze names 'features\.99', but there is no such submodule; the outermost ones are: fea"
    ):
        train(TinyImage(), composed("optimizer.freeze=[features.99]"), tmp_path / "wrong")


@pytest.mark.slow
def test_a_compiled_run_learns_what_an_eager_one_does(start: Path, tmp_path: Path) -> None:
    overrides = (f"init='{start}'", "trainer.max_epochs=1")
    eager, compiled = (
        load_checkpoint(TinyImage(), train(TinyImage(), composed(*overrides, f"trainer.compile={on}"), tmp_path / on))[
            0
        ]
        for on in ("false", "true")
    )
    learned = dict(compiled.named_parameters())
    for name, weight in eager.named_parameters():
        torch.testing.assert_close(learned[name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_run_that_cannot_be_compiled_says_so(tmp_path: Path) -> None:
    # In a process of its own: this one keeps what it has compiled.
    command = [sys.executable, "-m", "lading", "train", TARGET, *FAST, "trainer.compile=true", "--out", str(tmp_path)]
    broken = {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command, check=False, env=os.environ | broken, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "trainer.compile=true: torch.compile cannot compile the network:" in done.stderr
    assert "no-such-compiler" in done.stderr
    assert "Traceback" not in done.stderr
