"""A tiny model that is trained and built by the commands, as the Job of a retraining does it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lading.artifact import Artifact
from tests.given.tiny import WatchedImage

MODEL = "tests/given/tiny.py:WatchedImage"
FAST = ("trainer.max_epochs=30", "optimizer.lr=0.03", "data.batch_size=16", "trainer.progress=false", "data.workers=0")


def lading(*words: str, **variables: str) -> None:
    """Run a command; its output is in the assertion where it fails."""
    ended = subprocess.run(
        [sys.executable, "-m", "lading", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def made(folder: Path, **variables: str) -> Artifact:
    """Train and build."""
    lading("train", MODEL, f"--out={folder / 'run'}", *FAST, **variables)
    checkpoint = f"--checkpoint={folder / 'run' / WatchedImage.name}.safetensors"
    lading("build", MODEL, checkpoint, f"--work={folder / 'build'}", f"--out={folder / 'artifact'}", **variables)
    return Artifact.load(folder / "artifact")
