"""Libraries whose models go in, at the versions of ``requirements/hubs.txt``. They are no part of the environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LOCK = Path(__file__).parents[2] / "requirements" / "hubs.txt"


def install_hubs(folder: Path) -> Path:
    """Install them into a folder, which goes on ``PYTHONPATH``; returns it."""
    install = ("pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(folder))
    subprocess.run([str(Path(sys.executable).with_name("uv")), *install, "-r", str(LOCK)], check=True)
    return folder


@pytest.fixture(scope="session")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with them, and a repository of torch.hub."""
    place = install_hubs(tmp_path_factory.mktemp("hubs"))
    (place / "repository").mkdir()
    (place / "repository" / "hubconf.py").write_text("from torchvision.models import resnet18\n")
    return place
