"""Small artifacts of each kind, shared by the tests of scoring."""

from __future__ import annotations

from pathlib import Path

import pytest

from lading.artifact import Artifact
from tests.given.changed_artifacts import with_costs
from tests.given.small_artifacts import (
    colour_artifact,
    graph_artifact,
    log_artifact,
    lookup_artifact,
    table_artifact,
    typed_artifact,
)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """One artifact of each kind, by kind; ``batched`` is the table with a cost that makes batches of 8 the cheapest."""
    folder: Path = tmp_path_factory.mktemp("small")
    table, graph = table_artifact(folder / "table"), graph_artifact(folder / "graph")
    return {
        "table": table,
        "batched": with_costs(table, folder / "batched", {1: 1.0, 8: 1.2}),
        "types": typed_artifact(folder / "types"),
        "graph": with_costs(graph, folder / "ragged", {1: 1.0, 8: 1.2}),
        "colour": colour_artifact(folder / "colour"),
        "log": with_costs(log_artifact(folder / "log"), folder / "logs", {1: 1.0, 4: 1.1}),
        "lookup": with_costs(lookup_artifact(folder / "lookup"), folder / "lookups", {1: 1.0, 4: 1.1}),
    }
