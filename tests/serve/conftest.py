"""Servers that the tests share; each is started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from lading.artifact import Artifact
from tests.given.live_server import LiveServer, live_server
from tests.given.pictures import BODY_LIMIT, Encode, encoded


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A log that was sent to one test's standard error would be closed for the next."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def pictures(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    """Colour and shade of 16 x 16 pixels, with limits that a test can reach."""
    with live_server(
        small["colour"], max_body_mb=BODY_LIMIT / 1e6, max_pixels=1_000_000, max_batch=4, max_queue=64
    ) as live:
        yield live


@pytest.fixture(scope="session")
def table(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["table"]) as live:
        yield live


@pytest.fixture(scope="session")
def types(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["types"]) as live:
        yield live


@pytest.fixture(scope="session")
def graph(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["graph"], max_batch=4) as live:
        yield live


@pytest.fixture(scope="session")
def encode() -> Encode:
    return encoded
