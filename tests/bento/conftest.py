"""What tests of the Bento share: a small artifact, and a Bento store of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lading.artifact import Artifact
from tests.given.small_artifacts import colour_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder: Path = tmp_path_factory.mktemp("bento")
    return colour_artifact(folder / "colour")


@pytest.fixture(scope="module")
def bentoml_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Bento store of the test's own."""
    home: Path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(home))
        patch.setenv("BENTOML_DO_NOT_TRACK", "true")
        patch.delenv("LADING_ARTIFACT", raising=False)
        yield home
