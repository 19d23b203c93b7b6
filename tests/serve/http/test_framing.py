"""Where a request ends: what two readers may understand differently is refused, and nothing after it is answered."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.artifact import Artifact
from tests.given.bento_in_process import bento_in_process
from tests.given.doubtful import ANSWERED, REFUSED
from tests.given.live_server import LiveServer, live_server
from tests.given.nginx import nginx
from tests.given.raw_http import BODY, answer, connected, wait_closed

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
LAST_ONE = b"GET /smuggled HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def table(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["table"], grpc_port="off") as live:
        yield live


@pytest.mark.parametrize(("status", "request_"), REFUSED.values(), ids=REFUSED)
def test_a_doubtful_request_is_refused_in_a_sentence_and_nothing_after_it_is_answered(
    table: LiveServer, status: int, request_: bytes
) -> None:
    with connected(table) as connection:
        connection.sendall(request_ + SMUGGLED)
        found, headers, body = answer(connection)
        assert (found, headers["connection"], headers["content-type"]) == (status, "close", "application/json")
        content = json.loads(body)
        assert content["status"] == status
        assert 20 < len(content["error"]) < 300
        assert connection.recv(1) == b""


@pytest.mark.parametrize(("status", "request_"), ANSWERED.values(), ids=ANSWERED)
def test_an_unusual_request_is_answered_and_so_is_the_next_one(table: LiveServer, status: int, request_: bytes) -> None:
    with connected(table) as connection:
        for _ in range(2):
            connection.sendall(request_ + SMUGGLED)
            assert [answer(connection)[0] for _ in range(2)] == [status, 404]


def test_bentomls_port_reads_requests_alike(small: dict[str, Artifact]) -> None:
    with bento_in_process(small["table"]) as (bento, _):
        for name, (status, request) in REFUSED.items():
            with connected(bento) as connection:
                connection.sendall(request + SMUGGLED)
                assert answer(connection)[0] == status, name
                assert connection.recv(1) == b"", name
        for name, (status, request) in ANSWERED.items():
            with connected(bento) as connection:
                connection.sendall(request + SMUGGLED)
                assert [answer(connection)[0] for _ in range(2)] == [status, 404], name


CHOICE = {**{name: row[1] for name, row in REFUSED.items()}, **{name: row[1] for name, row in ANSWERED.items()}}


@given(st.data())
def test_an_answer_does_not_depend_on_the_packets_that_a_request_comes_in(
    table: LiveServer, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(CHOICE)))
    content = CHOICE[name] + LAST_ONE
    cuts = data.draw(st.lists(st.integers(1, len(content) - 1), max_size=5, unique=True).map(sorted))
    assert statuses(table, [content]) == statuses(table, _cut(content, cuts))


@pytest.mark.parametrize("name", ["an upgrade to h2c", "an upgrade with chunks", "gzip before chunks", "no host"])
def test_a_request_is_read_alike_whichever_byte_it_is_split_at(table: LiveServer, name: str) -> None:
    content = CHOICE[name] + LAST_ONE
    whole = statuses(table, [content])
    for at in range(1, len(content)):
        assert statuses(table, [content[:at], content[at:]]) == whole, at


def _cut(content: bytes, cuts: list[int]) -> list[bytes]:
    return [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]


def statuses(live: LiveServer, packets: list[bytes]) -> list[bytes]:
    """Status of every answer to what is sent in these packets, up to the end of the connection."""
    received = b""
    with connected(live) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            for packet in packets:
                connection.sendall(packet)
        while piece := connection.recv(65_536):
            received += piece
    return re.findall(rb"HTTP/1.1 ([2-5]\d\d)", received)


def test_http_2_with_prior_knowledge_is_answered_with_goaway(table: LiveServer) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = bytes.fromhex("000000040000000000")
    for packets in ([preface + settings], [preface[:1], preface[1:] + settings], [preface[:20], preface[20:]]):
        with connected(table) as connection:
            for packet in packets:
                connection.sendall(packet)
            received = b""
            while piece := connection.recv(1000):
                received += piece
        assert received[:9] == settings
        goaway = received[9:]
        assert (goaway[3], goaway[9:13], goaway[13:17]) == (7, bytes(4), b"\0\0\0\x0d")  # HTTP_1_1_REQUIRED
        assert goaway[17:] == b"this port speaks HTTP/1.1; gRPC has a port of its own"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_is_answered_when_it_asks_for_http_2(table: LiveServer) -> None:
    for body, status in ((BODY, "200"), (b"x" * 300_000, "400"), (b"", "400")):
        command = ["curl", "-sS", "--http2", "--data-binary", "@-", "-o", "/dev/null", "-w", "%{http_code}"]
        done = subprocess.run([*command, f"{table.url}/predict"], input=body, capture_output=True, check=True)
        assert done.stdout.decode() == status


@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java 17")
def test_javas_client_is_answered(table: LiveServer, tmp_path: Path) -> None:
    """By default it asks for an upgrade to HTTP/2 with its first request."""
    program = tmp_path / "Ask.java"
    program.write_text(_JAVA)
    done = subprocess.run(["java", program, f"{table.url}/predict", BODY], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["200", "200", "413"], done.stderr


_JAVA = """
import java.net.URI;
import java.net.http.*;

public class Ask {
    public static void main(String[] given) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        byte[] body = given[1].getBytes("UTF-8");
        for (byte[] sent : new byte[][] {body, body, new byte[20_000_000]}) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(given[0]))
                .POST(HttpRequest.BodyPublishers.ofByteArray(sent)).build();
            System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
        }
    }
}
"""


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
@pytest.mark.parametrize(
    "directives",
    [
        "",
        "proxy_request_buffering off;",
        "proxy_http_version 1.1; proxy_set_header Connection '';",
        "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $wanted;",
    ],
    ids=["defaults", "unbuffered", "kept", "websocket map"],
)
def test_every_answer_passes_nginx(table: LiveServer, tmp_path: Path, directives: str) -> None:
    upgrade = {"connection": "upgrade", "upgrade": "h2c"}
    large = bytes(20_000_000)
    rows = [("/predict", BODY, 200), ("/predict", large, 413), ("/nothing", BODY, 404), ("/nothing", large, 413)]
    with nginx(tmp_path, table.url, directives) as client:
        for headers in ({}, upgrade):
            for path, body, status in rows:
                assert client.post(path, content=body, headers=headers).status_code == status, (path, len(body))
    assert table.client.get("/livez").status_code == 200


def test_an_answer_before_its_body_is_not_lost_when_more_is_sent(table: LiveServer) -> None:
    """A reset would drop what the client's kernel has received and the client has not read."""
    for path, length in ((b"/predict", 10**9), (b"/nothing", 10**6)):
        with connected(table) as connection:
            connection.sendall(b"POST %s HTTP/1.0\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (path, length))
            for _ in range(20):
                connection.sendall(bytes(30_000))
            assert answer(connection)[0] == 413
            assert connection.recv(1) == b""
            connection.sendall(bytes(30_000))
            connection.shutdown(socket.SHUT_WR)
            wait_closed(connection)
