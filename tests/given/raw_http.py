"""HTTP as bytes on a socket, for what no client library sends."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

from lading.artifact import Artifact
from tests.given.live_server import LiveServer, live_server, wait_until

BODY = json.dumps({"features": [[1, 2, 3, 4]]}).encode()
"""Of a request that the small table answers."""
LIVEZ = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"


def head(path: bytes, *headers: bytes, method: bytes = b"POST", length: int | None = None) -> bytes:
    """The headers of a request, with ``content-length`` where a length is given."""
    lines = [b"%s %s HTTP/1.1" % (method, path), b"host: x", *headers]
    if length is not None:
        lines.append(b"content-length: %d" % length)
    return b"\r\n".join(lines) + b"\r\n\r\n"


@contextlib.contextmanager
def connected(live: LiveServer) -> Iterator[socket.socket]:
    """A connection to the HTTP port."""
    host, port = live.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        yield connection


@contextlib.contextmanager
def overloaded(artifact: Artifact, **settings: Any) -> Iterator[LiveServer]:
    """A server whose only lane is busy, with no room to wait, and which has refused a request already."""
    gate = threading.Event()
    with live_server(artifact, lanes=1, max_queue=0, grpc_port="off", **settings) as live:
        live.hold(gate)
        try:
            assert live.client.post("/predict", content=BODY).status_code in (401, 429)
            yield live
        finally:
            gate.set()


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer, and nothing of the next. ``100 Continue`` is skipped."""
    read = b""
    while b"\r\n\r\n" not in read:
        byte = connection.recv(1)
        assert byte, read
        read += byte
        if read == b"HTTP/1.1 100 Continue\r\n\r\n":
            read = b""
    status, *lines = read.decode().split("\r\n")[:-2]
    headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
    body = b""
    while len(body) < int(headers["content-length"]):
        piece = connection.recv(int(headers["content-length"]) - len(body))
        assert piece, body
        body += piece
    return int(status.split()[1]), headers, body


def wait_closed(connection: socket.socket) -> None:
    """Wait until the server has closed a connection, in both directions."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while connection.recv(65_536):
            pass
    wait_until(lambda: not _takes(connection))


def _takes(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"x")
    except OSError:
        return False
    return True
