"""Bytes that no HTTP library sends are answered in the same shape as every error, and logged in the log's format."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lading.artifact import Artifact
from tests.given.live_server import LiveServer, live_server
from tests.given.raw_http import answer, connected
from tests.given.sentences import check_sentence
from tests.given.served_process import serving

HOST = b" HTTP/1.1\r\nhost: x\r\n"
BYTES: dict[str, tuple[bytes, int, tuple[str, ...]]] = {
    "words": (b"hello\r\n\r\n", 400, ("not an HTTP/1.1 request", "GET")),
    "TLS to a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50), 400, ("TLS", "http://")),
    "a long target": (b"GET /" + b"x" * 9_000 + HOST + b"\r\n", 414, ("8192 bytes", "in the body")),
    "a long header": (b"GET /" + HOST + b"a: " + b"x" * 40_000 + b"\r\n\r\n", 431, ("32768 bytes", "send fewer")),
    "many headers": (b"GET /" + HOST + b"a: b\r\n" * 120 + b"\r\n", 431, ("100 fields", "send fewer")),
    "a header without a colon": (b"GET /livez" + HOST + b"abc\r\n\r\n", 400, ("header", "a colon and its value")),
    "a blank in a header's name": (b"GET /livez" + HOST + b"a b: c\r\n\r\n", 400, ("header", "a colon and its value")),
    "a blank in the target": (b"GET /a b" + HOST + b"\r\n", 400, ("the first line", "one space")),
    "letters that are not ASCII": ("GET /größe".encode() + HOST + b"\r\n", 400, ("percent-encode",)),
    "a length in words": (b"POST /predict" + HOST + b"content-length: ten\r\n\r\n", 400, ("Content-Length", "digits")),
    "two lengths": (
        b"POST /predict" + HOST + b"content-length: 3\r\ncontent-length: 4\r\n\r\n",
        400,
        ("Content-Length", "once"),
    ),
    "no Host": (b"GET /livez HTTP/1.1\r\n\r\n", 400, ("no Host header", "exactly one")),
}


@pytest.fixture(scope="module")
def live(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["table"], grpc_port="off") as server:
        yield server


@pytest.mark.parametrize(("sent", "status", "words"), BYTES.values(), ids=BYTES)
def test_the_sentence_says_what_to_do(live: LiveServer, sent: bytes, status: int, words: tuple[str, ...]) -> None:
    with connected(live) as connection:
        connection.sendall(sent)
        answered, headers, body = answer(connection)
    assert answered == status, body
    assert headers["content-type"] == "application/json"
    content = json.loads(body)
    assert (set(content), content["status"]) == ({"error", "status", "request_id"}, status)
    check_sentence(content["error"], words)


def test_the_log_of_a_server_has_one_format(small: dict[str, Artifact], tmp_path: Path) -> None:
    """Nothing of uvicorn, asyncio or gRPC writes lines of its own."""
    upgrade = b"GET /livez" + HOST + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"
    with serving(small["table"].path, tmp_path / "log") as server:
        for address in (server.url.removeprefix("http://"), server.grpc):
            host, port = address.split(":")
            for sent in (*(sent for sent, _, _ in BYTES.values()), upgrade):
                with (
                    contextlib.suppress(OSError),  # gRPC resets some of them
                    socket.create_connection((host, int(port)), timeout=20) as connection,
                ):
                    connection.sendall(sent)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65_536):
                        pass
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines
    for line in lines:
        assert "event" in json.loads(line), line
