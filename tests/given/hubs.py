"""Libraries of models that are not installed, because no more than a few tests need them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with timm and transformers, from the lock ``requirements/hubs.txt``, and a repository of torch.hub."""
    place = tmp_path_factory.mktemp("hubs")
    install = ("pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(place))
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([str(uv), *install, "-r", str(ROOT / "requirements" / "hubs.txt")], check=True)
    (place / "repository").mkdir()
    (place / "repository" / "hubconf.py").write_text("from torchvision.models import resnet18\n")
    return place
