"""What a server refuses to serve before it opens a port."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lading.artifact import Artifact, write_artifact
from lading.errors import ArtifactError, GateRefusedError
from lading.serve.engine.artifacts import accept
from lading.settings import Settings
from tests.given.small_artifacts import colour_artifact

OTHER = f"sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return colour_artifact(tmp_path_factory.mktemp("packed") / "small-colour")


def refused_by_its_gate(artifact: Artifact, path: Path) -> Artifact:
    """The same artifact, whose chosen variant verify refused."""
    variants = tuple(
        packed.model_copy(update={"passed": False, "reasons": ("the score fell by 0.3",)})
        for packed in artifact.manifest.variants
    )
    files: dict[str, bytes | Path] = {name: artifact.path / name for name in artifact.manifest.files}
    return write_artifact(path, artifact.manifest.model_copy(update={"variants": variants}), files)


def test_the_artifact_that_was_asked_for_is_served(packed: Artifact) -> None:
    assert [artifact.digest for artifact in accept([packed.path], Settings(digest=packed.digest))] == [packed.digest]
    assert len(accept([packed.path], Settings())) == 1


def test_another_artifact_is_refused(packed: Artifact) -> None:
    with pytest.raises(ArtifactError, match=f"LADING_DIGEST asks for {OTHER}"):
        accept([packed.path], Settings(digest=OTHER))


def test_a_variant_that_verify_refused_is_refused_with_its_reasons(packed: Artifact, tmp_path: Path) -> None:
    refused = refused_by_its_gate(packed, tmp_path / "refused")
    with pytest.raises(GateRefusedError, match=r"was refused by verify: the score fell by 0\.3"):
        accept([refused.path], Settings())


def test_the_server_ends_with_the_sentence_and_the_exit_code(packed: Artifact) -> None:
    command = [sys.executable, "-m", "lading", "serve", str(packed.path), "--port", "0", "--grpc-port", "off"]
    environment = {"LADING_DIGEST": OTHER, "ORT_DISABLE_TELEMETRY": "1", "PATH": ""}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert ended.returncode == 1
    assert "it is another artifact than the one that was released" in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
