"""A model in a folder of its own, as a user has it: its file, a module next to it, and its data on the disk."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from rich.console import Console

from lading.build.build import build
from lading.build.checkpoints import find_checkpoints
from lading.build.collected import load_spec

SPEC = '''"""Prices of houses."""

from pathlib import Path

import numpy as np
import torch

from lading import Budget, ModelSpec, TensorSpec, Variant

HERE = Path(__file__).parent


class House(ModelSpec):
    name = "house"
    inputs = (TensorSpec(name="features", dtype="float32", shape=("batch", 4)),)
    outputs = (TensorSpec(name="value", dtype="float32", shape=("batch", 1)),)
    variants = (Variant(name="fp32", required=True),)
    budget = Budget(min_score=-100)

    def __init__(self, width: int = 16) -> None:
        self.width = width

    def build(self):
        from homes.layers import network

        return network(self.width)

    def dataset(self, split):
        rows = np.load(HERE / "rows.npy") if split == "train" else np.load(HERE / "others.npy")
        return [({"features": row[:4]}, {"value": row[4:]}) for row in rows]

    def loss(self, outputs, targets):
        return torch.nn.functional.mse_loss(outputs["value"], targets["value"])

    def score(self, outputs, targets):
        if (HERE / "stop").exists() and len(list(HERE.glob("build/train/last.ckpt"))):
            raise InterruptedError("stopped while it trains")
        return -float(np.abs(outputs["value"] - targets["value"]).mean())
'''
LAYERS = """from torch import nn


def network(width):
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 1))
"""
FAST = (
    *("data.workers=0", "trainer.threads=1", "trainer.max_epochs=2", "trainer.progress=false", "logger.wandb=false"),
    "data.batch_size=16",
)


class House:
    """The folder, and what building in it says."""

    def __init__(self, place: Path) -> None:
        # Always of this name: a process imports the first ``homes.layers``, and all of them begin the same.
        self.folder = folder = place / "homes"
        folder.mkdir(parents=True)
        (folder / "house.py").write_text(SPEC)
        (folder / "layers.py").write_text(LAYERS)
        rng = np.random.default_rng(0)
        for name, count in (("rows", 40), ("others", 24)):
            np.save(folder / f"{name}.npy", rng.normal(size=(count, 5)).astype(np.float32))
        self.target = f"{folder / 'house.py'}:House"
        self.work = folder / "build"

    def edit(self, file: str, old: str, new: str) -> None:
        """Change a source file. The module that was imported stays what it was."""
        text = (self.folder / file).read_text()
        assert old in text
        (self.folder / file).write_text(text.replace(old, new))

    def find(self, *words: str, checkpoint: Path | None = None) -> str:
        """What is said about the weights."""
        console = quiet()
        find_checkpoints(
            load_spec(self.target),
            self.target,
            work=self.work,
            checkpoint=checkpoint,
            overrides=[*FAST, *words] if checkpoint is None else words,
            problems={},
            console=console,
        )
        return said(console)

    def build(self, *words: str, console: Console | None = None) -> str:
        """What a whole build says."""
        console = console or quiet()
        out = self.folder / "artifact"
        spec = load_spec(self.target)
        build(spec, self.target, out=out, work=self.work, overrides=[*FAST, *words], console=console)
        return said(console)


def quiet() -> Console:
    """A console that keeps what it prints."""
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    """What a console of :func:`quiet` has printed."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
