"""A working folder, and the servers that documented requests are sent to; each is made when a command needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lading.artifact import Artifact
from tests.given.documented import ROOT
from tests.given.live_server import LiveServer, live_server
from tests.given.packed_onnx import packed_classifier
from tests.given.self_signed import self_signed
from tests.given.working_folder import WorkingFolder, checkout, fill

MADE = (
    "lading values artifacts/cards --rate 200 --repository cards > values.yaml",
    "lading values artifacts/cards --rate 200 > my-values.yaml",
    "lading monitor artifacts/cards --out watching",
)
"""Commands whose files other commands read."""
READERS = {"smiles": "models.molecule_graphs.smiles:read_smiles"}


@pytest.fixture(scope="session")
def molecules(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    from tests.given.few_molecules import molecules_artifact

    return molecules_artifact(tmp_path_factory.mktemp("molecules") / "molecules")


@pytest.fixture(scope="session")
def payloads(cards_artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A payload log of a few photos."""
    folder: Path = tmp_path_factory.mktemp("logged") / "payloads"
    photo = (ROOT / "examples" / "ace-of-hearts.jpg").read_bytes()
    with live_server(cards_artifact, payload_log=str(folder)) as live:
        for _ in range(4):
            assert live.client.post("/classify", content=photo).status_code == 200
    return folder


@pytest.fixture(scope="session")
def folder(cards_artifact: Artifact, payloads: Path, tmp_path_factory: pytest.TempPathFactory) -> WorkingFolder:
    """What the pages tell a reader to have."""
    work = checkout(tmp_path_factory.mktemp("documented") / "lading")
    iris = packed_classifier(tmp_path_factory.mktemp("iris"))
    fill(work, {"cards": cards_artifact, "digits": iris, "flat-digits": iris}, payloads)
    for command in MADE:
        done = work.type(command)
        assert done.returncode == 0, done.stderr
    return work


@pytest.fixture(scope="session")
def servers(
    cards_artifact: Artifact, folder: WorkingFolder, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], LiveServer]]:
    """A server by name. It starts with the first command that needs it."""
    started: dict[str, LiveServer] = {}
    with ExitStack() as stack:

        def server(name: str) -> LiveServer:
            if name in started:
                return started[name]
            artifact, settings = cards_artifact, dict[str, Any]()
            if name == "molecules":
                artifact, settings = request.getfixturevalue("molecules"), {"text_forms": READERS}
            elif name == "keys":
                settings = {"api_keys": folder.path / "keys"}
            elif name == "tls":
                certificate, key = self_signed(folder.path)
                settings = {"tls_certificate": certificate, "tls_key": key}
            started[name] = stack.enter_context(live_server(artifact, **settings))
            return started[name]

        yield server
