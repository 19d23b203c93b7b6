"""``/model`` and ``/docs.json`` are about the model that the request names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lading.artifact import Artifact
from tests.given.live_server import LiveServer, live_server


@pytest.fixture(scope="module")
def two(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["table"], small["colour"]) as live:
        yield live


@pytest.mark.parametrize(
    ("query", "name"), [("", "small-table"), ("?model=", "small-table"), ("?model=small-colour", "small-colour")]
)
def test_a_description_is_of_the_model_that_is_named(two: LiveServer, query: str, name: str) -> None:
    for _ in range(2):  # made once, and kept
        described = two.client.get(f"/model{query}").json()
        assert (described["name"], described["classify"]) == (name, name == "small-colour")
        assert two.client.get(f"/docs.json{query}").json()["info"]["title"] == name


@pytest.mark.parametrize("path", ["/model", "/docs.json"])
@pytest.mark.parametrize("query", ["model=nobody", "variant=int3", "version=99", "model=small-colour&variant=int3"])
def test_what_is_not_served_is_not_described(two: LiveServer, path: str, query: str) -> None:
    answered = two.client.get(f"{path}?{query}")
    assert answered.status_code == 404
    assert query.rpartition("=")[2] in answered.json()["error"]


def test_the_api_of_another_model_says_that_requests_name_it(two: LiveServer) -> None:
    paths = two.client.get("/docs.json?model=small-colour").json()["paths"]
    (parameter,) = paths["/classify"]["parameters"]
    assert (parameter["name"], parameter["schema"]) == ("model", {"enum": ["small-colour"]})
    assert "parameters" not in paths["/v2/models/small-colour/infer"]
    assert "parameters" not in two.client.get("/docs.json").json()["paths"]["/predict"]
