"""Every path may end in a slash."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.routing import Route

from lading.artifact import Artifact
from tests.given.live_server import LiveServer, live_server

EXTRAS = ("/", "//")
KNOWN = {"{name}": "small-table", "{version}": "1"}


def routes(live: LiveServer) -> list[tuple[str, str]]:
    """Method and path of everything that the app answers."""
    found = []
    for route in live.app._rest.routes:
        assert isinstance(route, Route)
        path = route.path
        for name, value in KNOWN.items():
            path = path.replace(name, value)
        found += [(method, path) for method in sorted(route.methods or ())]
    return found


def test_every_route_answers_with_a_slash_as_without(table: LiveServer) -> None:
    def answer(method: str, path: str) -> tuple[object, ...]:
        got = table.client.request(method, path)
        sentence = got.json().get("error") if got.status_code >= 400 and got.content else None
        return got.status_code, got.headers["content-type"], got.headers.get("allow"), sentence

    for method, path in [*routes(table), ("GET", "/predict"), ("POST", "/v2"), ("GET", "/nothing/here")]:
        without = answer(method, path)
        for extra in EXTRAS:
            assert answer(method, path.rstrip("/") + extra) == without, (method, path, extra)


@pytest.mark.parametrize("extra", EXTRAS)
def test_inferences_are_answered_and_counted_as_without(table: LiveServer, extra: str) -> None:
    body = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    for path in ("/v2/models/small-table/infer", "/v2/models/small-table/versions/1/infer"):
        assert table.client.post(path + extra, json=body).json()["outputs"][0]["data"] == [10.0]
        wrong = table.client.post(path.replace("small-table", "x") + extra, json=body)
        assert (wrong.status_code, "no model 'x'" in wrong.json()["error"]) == (404, True)
    for content in ({"json": {"features": [[1, 2, 3, 4]]}}, {"content": iter([b'{"features": [[1, 2, 3, 4]]}'])}):
        sent = table.client.post("/predict" + extra, headers={"content-type": "application/json"}, **content)
        assert sent.json()["outputs"] == {"total": [[10.0]]}


def test_a_slash_asks_for_the_same_key(small: dict[str, Artifact], tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("alpha\nbeta may=infer\n")
    with live_server(small["table"], api_keys=file) as live:
        for method, path in routes(live):
            for key in ("", "Bearer beta"):
                headers = {"authorization": key} if key else {}
                codes = {
                    live.client.request(method, path.rstrip("/") + extra, headers=headers).status_code
                    for extra in ("" if path != "/" else "/", *EXTRAS)
                }
                assert len(codes) == 1, (method, path, key, codes)
