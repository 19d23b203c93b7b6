"""Every mistake over HTTP is answered by one sentence that names it, what is wanted, and what to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lading.artifact import Artifact
from tests.given.live_server import LiveServer, live_server
from tests.given.mistakes import OVER_HTTP, Mistake
from tests.given.sentences import check_sentence


@pytest.fixture(scope="module")
def live(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    served = [small[name] for name in ("colour", "table", "graph")]
    with live_server(*served, max_batch=4, grpc_port="off") as server:
        yield server


@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
@pytest.mark.parametrize("mistake", OVER_HTTP, ids=lambda mistake: mistake.title)
def test_the_sentence_names_the_mistake_and_what_to_do(live: LiveServer, mistake: Mistake, chunked: bool) -> None:
    content = iter([mistake.body]) if chunked else mistake.body
    answer = live.client.request(mistake.method, mistake.path, content=content, headers=mistake.headers)
    assert answer.status_code == mistake.status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error", "status", "request_id"}
    check_sentence(answer.json()["error"], mistake.words)


def test_every_mistake_has_a_title_of_its_own() -> None:
    titles = [mistake.title for mistake in OVER_HTTP]
    assert len(titles) == len(set(titles)) > 60
