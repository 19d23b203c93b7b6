"""What tests share: real tiny models, exported and packed once a session."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

from lading.artifact import Artifact

# Before torch and ONNX Runtime are imported: several test processes share few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# No test may depend on how busy the machine is. What passed CI passes it again: new cases are looked for by people.
hypothesis.settings.register_profile("lading", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("lading")


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A packed artifact of ``tests.given.tiny.TinyImage``; copy it before changing a file."""
    from tests.given.tiny import pack_tiny

    return pack_tiny(tmp_path_factory.mktemp("artifact") / "tiny-image")


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported graph of a trained ``tests.given.tiny.TinyImage``."""
    from lading.build.export.export import export_module
    from tests.given.tiny import TinyImage, fit

    spec = TinyImage()
    file = tmp_path_factory.mktemp("exported") / "fp32.onnx"
    export_module(spec, fit(spec), file)
    return file


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """One artifact of each kind, by kind."""
    from tests.given.small_artifacts import colour_artifact, graph_artifact, table_artifact, typed_artifact

    folder: Path = tmp_path_factory.mktemp("small")
    return {
        "table": table_artifact(folder / "table"),
        "types": typed_artifact(folder / "types"),
        "graph": graph_artifact(folder / "graph"),
        "colour": colour_artifact(folder / "colour"),
    }
