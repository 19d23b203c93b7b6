"""Documented requests are answered as the page says, by the server that it says."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.given.documented import Documented, Way, run_by
from tests.given.live_server import LiveServer
from tests.given.working_folder import WorkingFolder, with_more

Servers = Callable[[str], LiveServer]


PARAMETERS = [
    pytest.param(one, id=str(one), marks=[pytest.mark.slow] if one.row is not None and one.row.slow else [])
    for one in run_by(Way.SERVER)
]


@pytest.mark.parametrize("one", PARAMETERS)
def test_a_request_is_answered(one: Documented, servers: Servers, folder: WorkingFolder) -> None:
    assert one.row is not None
    live = servers(one.row.on)
    plain = live.url.split("//")[1]
    addresses = {
        **{f"http://127.0.0.1:{port}": live.url for port in (3000, 8080)},
        **{"127.0.0.1:9000": live.grpc, "127.0.0.1:8080": plain},
        **{"https://api.models.example.com": live.url, "https://models.example.com": live.url},
    }
    done = folder.type(with_more(one), addresses=addresses)
    assert done.returncode in one.row.codes, done.stdout + done.stderr
    if one.text.startswith("curl --data-binary @examples/ace-of-hearts.jpg"):
        answer = json.loads(done.stdout)
        assert (answer["suit"], answer["rank"]) == ("hearts", "ace")
