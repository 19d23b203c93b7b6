"""What tests share: real tiny models, exported and packed once a session."""

from __future__ import annotations

import os

# Before torch and ONNX Runtime are imported: several test processes share few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import subprocess
from pathlib import Path

import hypothesis
import pytest

from lading.artifact import Artifact

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


@pytest.fixture(scope="session")
def cards_artifact() -> Artifact:
    """The cards model as ``make`` builds it, built once for every test, run and process that asks for it."""
    import fcntl  # Windows has none; tests that build this model run on Linux

    root = Path(__file__).parents[1]
    (root / "build").mkdir(exist_ok=True)
    with (root / "build" / "cards.lock").open("w") as lock:  # two test processes may ask at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Its measurements want the cores that the tests keep to themselves.
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        subprocess.run(["make", "artifacts/cards/lading.json"], cwd=root, check=True, env=environment)
    return Artifact.load(root / "artifacts" / "cards")
