"""A running server records what it answered: the payload log, feedback, drift, and the report on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lading.artifact import Artifact, write_artifact
from lading.drift.reference import Reference
from tests.given.live_server import LiveServer


def with_reference(artifact: Artifact, path: Path, centre: float = 0.0) -> Artifact:
    """The table artifact with a reference of 200 normal examples."""
    rng = np.random.default_rng(0)
    rows = rng.normal(centre, 1, (200, 4)).astype(np.float32)
    manifest = artifact.manifest
    pairs = (({"features": row}, {"total": row.sum(keepdims=True)}) for row in rows)
    reference = Reference.fit(manifest.inputs, manifest.outputs, pairs)
    files: dict[str, bytes | Path] = {name: artifact.path / name for name in manifest.files}
    files["reference.json"] = reference.to_json().encode()
    return write_artifact(path, manifest, files)


def send(live: LiveServer, rows: np.ndarray) -> None:
    for row in rows:
        answer = live.client.post("/predict", json={"features": [row.tolist()]})
        assert answer.status_code == 200
