"""An example of one file, built in a folder by the command of its page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lading.artifact import Artifact

ROOT = Path(__file__).parents[2]


def built_example(folder: Path, model: str, name: str, *overrides: str) -> Artifact:
    """Copy ``examples/FILE`` to the folder, and build ``FILE:Class`` there.

    Args:
        folder: to build in.
        model: such as ``table.py:Parcels``.
        name: of the model.
        overrides: of the training configuration, besides those that every page has.
    """
    shutil.copy(ROOT / "examples" / model.partition(":")[0], folder)
    done = subprocess.run(
        [sys.executable, "-m", "lading", "build", model, "data.workers=0", "trainer.threads=1", *overrides],
        cwd=folder,
        env=os.environ | {"WANDB_MODE": "offline"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Artifact.load(folder / "artifacts" / name)
