"""The models that costly requests are for."""

from __future__ import annotations

import pytest

from lading.artifact import Artifact
from tests.given.small_artifacts import graph_artifact


@pytest.fixture(scope="session")
def costly_artifacts(small: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """One artifact for each model that ``tests.given.costly_requests`` names."""
    tensors = ("node_features", "edge_index", "owner")
    folder = tmp_path_factory.mktemp("molecules")
    return {**small, "smiles": graph_artifact(folder, name="small-molecules", features=11, tensors=tensors)}
