"""Clients that others wrote get their answers; ``make clients`` writes what each showed into the documentation."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.clients.table import CLIENTS, RESULTS, Client, run, write_bodies
from tests.given.live_server import LiveServer

QUICK = ("tritonclient.http", "tritonclient.grpc", "curl")
RECORDED = {row["client"]: row for row in json.loads(RESULTS.read_text())["clients"]}


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("bodies")
    write_bodies(folder)
    return folder


@pytest.mark.parametrize(
    "client",
    [pytest.param(one, id=one.name, marks=() if one.name in QUICK else pytest.mark.slow) for one in CLIENTS],
)
def test_the_client_gets_its_answers(client: Client, pictures: LiveServer, bodies: Path) -> None:
    missing = client.missing()
    if missing is not None:
        assert client.optional or "TESTS_NEED_TOOLS" not in os.environ, f"{missing} is not here: make client-tools"
        pytest.skip(f"{missing} is not installed")
    outcome = run(client, pictures.url, pictures.grpc, bodies)
    assert not outcome.failure
    assert outcome.calls == RECORDED[client.name]["calls"], "the page shows other calls: make clients"


def test_the_page_has_a_row_of_every_client_and_none_that_failed() -> None:
    assert list(RECORDED) == [client.name for client in CLIENTS]
    assert not [name for name, row in RECORDED.items() if row["failure"]]
