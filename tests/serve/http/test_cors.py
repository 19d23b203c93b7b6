"""CORS: pages of the origins that are named may call every endpoint and read every answer, and no other page may."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lading.artifact import Artifact
from lading.errors import SettingsError
from lading.serve.http.connections import RESERVE
from lading.settings import Settings
from tests.given.bento_in_process import bento_in_process
from tests.given.browser import browser
from tests.given.live_server import LiveServer, live_server
from tests.given.raw_http import BODY, answer, connected, head, overloaded

__all__ = ["browser"]

APP = "https://app.example.com"
OTHER = "https://other.example.com"
Route = tuple[str, str, bytes, int]
STANDARD = {
    *("content-length", "content-type", "date", "connection", "vary", "allow", "cache-control", "last-modified"),
    *("content-security-policy", "content-encoding", "x-content-type-options", "etag"),
}
"""Headers of answers that pages may read anyway, or that are for the browser."""
ROUTES = [
    ("POST", "/predict", BODY, 200),
    ("POST", "/predict", b"{", 400),
    ("POST", "/predict?model=nobody", BODY, 404),
    ("POST", "/classify", b"x", 404),
    ("POST", "/v2/models/small-table/infer", b"{}", 400),
    ("POST", "/feedback", b"{}", 400),
    ("POST", "/feedback", b"x" * 100_000, 413),
    ("PUT", "/predict", b"", 405),
    ("OPTIONS", "/predict", b"", 204),
    ("GET", "/", b"", 200),
    ("GET", "/model", b"", 200),
    ("GET", "/docs.json", b"", 200),
    ("GET", "/status", b"", 200),
    ("GET", "/metrics", b"", 200),
    ("GET", "/livez", b"", 200),
    ("GET", "/v2/models", b"", 200),
    ("GET", "/report", b"", 404),
    ("GET", "/nothing", b"", 404),
]
TOO_LONG = b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nhost: x\r\n"
REFUSED_BY_THE_CONNECTION = [
    (b"GET / HTTP/1.1\r\nhost: x\r\n", b"x: y\r\nno colon\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: x\r\n", b"x: %s\r\n" % (b"y" * 40_000), 431),
    (b"POST /predict HTTP/1.1\r\nhost: x\r\n", b"transfer-encoding: chunked\r\n\r\nno size\r\n\r\n", 400),
]


@pytest.fixture(scope="module")
def named(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["table"], cors_origins=f"{APP},http://localhost:5173", feedback=10) as live:
        yield live


@pytest.fixture(scope="module")
def everyone(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["table"], cors_origins="*", feedback=10) as live:
        yield live


def preflight(live: LiveServer, origin: str, path: str = "/predict", headers: str = "", **more: str) -> Any:
    asked = {"origin": origin, "access-control-request-method": "POST", **more}
    if headers:
        asked["access-control-request-headers"] = headers
    return live.client.options(path, headers=asked)


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_an_allowed_origin_reads_every_answer_with_its_ids(
    named: LiveServer, everyone: LiveServer, route: Route
) -> None:
    method, path, body, status = route
    for live, allowed in ((named, APP), (everyone, "*")):
        answered = live.client.request(method, path, content=body, headers={"origin": APP})
        assert answered.status_code == status
        assert answered.headers.get_list("access-control-allow-origin") == [allowed]
        assert "access-control-allow-credentials" not in answered.headers
        assert allowed == "*" or "Origin" in answered.headers["vary"]
        exposed = {name.strip() for name in answered.headers["access-control-expose-headers"].split(",")}
        own = {name for name in answered.headers if not name.startswith("access-control-")} - STANDARD
        assert own <= exposed


@pytest.mark.parametrize("route", ROUTES, ids=str)
@pytest.mark.parametrize("origin", [OTHER, "null", "http://localhost:5174", "https://app.example.com.evil.example"])
def test_another_origin_is_answered_but_may_not_read(named: LiveServer, route: Route, origin: str) -> None:
    method, path, body, status = route
    answered = named.client.request(method, path, content=body, headers={"origin": origin})
    assert answered.status_code == status
    assert "access-control-allow-origin" not in answered.headers
    assert "Origin" in answered.headers["vary"]


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_without_the_setting_no_answer_has_any_of_it(table: LiveServer, route: Route) -> None:
    method, path, body, _ = route
    answered = table.client.request(method, path, content=body, headers={"origin": APP})
    assert not [name for name in answered.headers if name.startswith("access-control-")]
    asked = preflight(table, APP, path)
    assert asked.status_code in (204, 404)
    assert not [name for name in asked.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/predict", "/v2/models/small-table/infer", "/model", "/nothing"])
def test_a_preflight_allows_every_header_that_a_page_asks_for(named: LiveServer, path: str) -> None:
    wanted = "authorization,content-type,x-api-key,x-request-id,inference-header-content-length,traceparent,baggage"
    answered = preflight(named, APP, path, wanted)
    assert answered.status_code == 200
    assert answered.headers["access-control-allow-origin"] == APP
    assert answered.headers["access-control-allow-headers"] == wanted
    assert "POST" in answered.headers["access-control-allow-methods"]
    assert int(answered.headers["access-control-max-age"]) >= 600
    assert {"Origin", "Access-Control-Request-Headers"} <= set(answered.headers["vary"].split(", "))
    refused = preflight(named, OTHER, path, wanted)
    assert "access-control-allow-origin" not in refused.headers


def test_a_public_page_may_call_a_private_address_only_from_an_allowed_origin(named: LiveServer) -> None:
    asked = {"access-control-request-private-network": "true"}
    assert preflight(named, APP, **asked).headers["access-control-allow-private-network"] == "true"
    assert preflight(named, OTHER, **asked).status_code == 400


@pytest.mark.parametrize(("begin", "rest", "status"), REFUSED_BY_THE_CONNECTION)
def test_what_the_connection_refuses_can_be_read_too(
    named: LiveServer, everyone: LiveServer, begin: bytes, rest: bytes, status: int
) -> None:
    for live, origin, allowed in ((named, APP, APP), (named, OTHER, None), (everyone, OTHER, "*")):
        with connected(live) as connection:
            connection.sendall(begin + b"Origin: %s\r\n" % origin.encode() + rest)
            got, headers, _ = answer(connection)
        assert (got, headers.get("access-control-allow-origin")) == (status, allowed)


def test_a_target_that_is_too_long_is_refused_in_words_that_a_page_can_read(everyone: LiveServer) -> None:
    with connected(everyone) as connection:
        connection.sendall(TOO_LONG)
        status, headers, _ = answer(connection)
    assert (status, headers["access-control-allow-origin"]) == (414, "*")


def test_overload_and_bodies_that_are_too_large_are_read_before_the_body_is_sent(small: dict[str, Artifact]) -> None:
    with overloaded(small["table"], cors_origins=APP, max_body_mb=0.01) as live:
        for length, status in ((len(BODY), 429), (20_000, 413)):
            with connected(live) as connection:
                connection.sendall(head(b"/predict", b"origin: " + APP.encode(), length=length))
                got, headers, _ = answer(connection)
            assert (got, headers["access-control-allow-origin"]) == (status, APP)
        assert "retry-after" in headers["access-control-expose-headers"]


def test_a_page_reads_that_an_answer_was_kept(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], cors_origins=APP, idempotency_mb=1) as live:
        sent = {"origin": APP, "idempotency-key": "one"}
        first, second = (live.client.post("/predict", content=BODY, headers=sent) for _ in range(2))
    assert first.content == second.content
    assert (set(second.headers) - set(first.headers)) <= set(
        second.headers["access-control-expose-headers"].split(", ")
    )
    assert second.headers["idempotency-replayed"] == "true"


def test_a_page_reads_that_its_body_came_too_late(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], cors_origins=APP, body_timeout_s=0.2) as live, connected(live) as connection:
        connection.sendall(head(b"/predict", b"origin: " + APP.encode(), length=len(BODY)))
        status, headers, _ = answer(connection)
    assert (status, headers["access-control-allow-origin"]) == (408, APP)


def test_a_page_reads_that_all_connections_are_taken(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], cors_origins=APP, max_connections=1) as live, contextlib.ExitStack() as held:
        held.enter_context(connected(live))
        crowd: list[socket.socket] = [held.enter_context(connected(live)) for _ in range(RESERVE)]
        beyond = held.enter_context(connected(live))
        status, headers, _ = answer(beyond)
        assert (status, headers["access-control-allow-origin"]) == (503, APP)
        crowd[-1].sendall(head(b"/predict", b"origin: " + APP.encode(), length=0))
        status, headers, _ = answer(crowd[-1])
        assert (status, headers["access-control-allow-origin"]) == (503, APP)


def test_a_key_is_needed_for_the_request_and_not_for_its_preflight(small: dict[str, Artifact], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("alpha\n")
    with live_server(small["table"], cors_origins=APP, api_keys=keys) as live:
        for path in ("/predict", "/model"):
            assert preflight(live, APP, path, "authorization").status_code == 200
            refused = live.client.post(path, content=BODY, headers={"origin": APP})
            assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, APP)
        sent = {"origin": APP, "authorization": "Bearer alpha"}
        assert live.client.post("/predict", content=BODY, headers=sent).status_code == 200


def test_bentomls_port_has_the_same_answers(small: dict[str, Artifact]) -> None:
    with bento_in_process(small["table"], cors_origins=APP) as (live, _):
        for method, path, body in (("POST", "/predict", BODY), ("GET", "/schema.json", b""), ("GET", "/nothing", b"")):
            answered = live.client.request(method, path, content=body, headers={"origin": APP})
            assert answered.headers.get_list("access-control-allow-origin") == [APP]
        assert preflight(live, APP, headers="authorization").status_code == 200


@pytest.mark.parametrize(
    ("written", "origins"),
    [
        ("https://app.example.com", ("https://app.example.com",)),
        (" https://App.Example.com/ , http://localhost:5173,", ("https://app.example.com", "http://localhost:5173")),
        ("https://a.example:443,http://b.example:80", ("https://a.example", "http://b.example")),
        ("https://a.example:80,http://[::1]:3000", ("https://a.example:80", "http://[::1]:3000")),
        ("chrome-extension://abcdefgh,capacitor://localhost", ("chrome-extension://abcdefgh", "capacitor://localhost")),
        ("*", ("*",)),
        ("", ()),
    ],
)
def test_origins_are_read_as_browsers_send_them(written: str, origins: tuple[str, ...]) -> None:
    assert Settings(cors_origins=written).cors_origins == origins


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("null", "every sandboxed page"),
        ("https://*.example.com", "no wildcard"),
        ("app.example.com", "no scheme"),
        ("localhost:3000", "no scheme"),
        ("https://app.example.com/path", "not only scheme, host"),
        ("https://user@app.example.com", "not only scheme, host"),
        ("https://bücher.example", "in ASCII"),
        ("https://", "has no scheme"),
        ("https://a b", "not only scheme, host"),
        ("*,https://app.example.com", "already allows every origin"),
    ],
)
def test_what_is_no_origin_is_refused_with_what_to_write(written: str, hint: str) -> None:
    with pytest.raises(SettingsError, match="LADING_CORS_ORIGINS") as refused:
        Settings(cors_origins=written)
    assert hint in str(refused.value)


CALL = """async ([url, init]) => {
    try {
        const answer = await fetch(url, init);
        const content = await answer.json();
        return [answer.status, content.error || content.outputs, answer.headers.get("x-request-id")];
    } catch (error) { return [0, String(error), null]; }
}"""


@pytest.fixture
def elsewhere(browser: Any) -> Iterator[Any]:
    """A page of another origin, empty, in a real browser."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{other.server_address[1]}/")
        yield page
        page.close()
        other.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_browser_on_a_page_of_an_allowed_origin_gets_answers_and_errors(
    elsewhere: Any, small: dict[str, Artifact], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("alpha\n")
    origin = elsewhere.evaluate("location.origin")
    sent = {"content-type": "application/json", "authorization": "Bearer alpha", "x-request-id": "mine"}
    init = {"method": "POST", "headers": sent, "body": BODY.decode()}
    with live_server(small["table"], cors_origins=origin, api_keys=keys, max_body_mb=0.01) as live:
        status, outputs, request_id = elsewhere.evaluate(CALL, [f"{live.url}/predict", init])
        assert (status, list(outputs), request_id) == (200, ["total"], "mine")
        for changed, code, words in (
            ({"headers": {"content-type": "application/json"}}, 401, "asks for a key"),
            ({"body": "{"}, 400, ""),
            ({"body": "x" * 20_000}, 413, "bytes"),
        ):
            status, error, request_id = elsewhere.evaluate(CALL, [f"{live.url}/predict", init | changed])
            assert status == code
            assert words in error
            assert request_id
    with live_server(small["table"], cors_origins=OTHER) as live:
        status, error, _ = elsewhere.evaluate(CALL, [f"{live.url}/predict", init])
        assert (status, "Failed to fetch" in error) == (0, True)
