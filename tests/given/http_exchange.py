"""HTTP as bytes on a socket, for what a client library would not send or would not wait for."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Answer:
    """What came back: a status (a gRPC code's name over gRPC), the error's sentence, and the size in bytes.

    ``none`` is the status of a request that was not answered, and ``closed`` of a connection that ended without one.
    """

    status: str
    sentence: str = ""
    size: int = 0
    reusable: bool = False
    """Everything was sent, and the connection stays open."""


def address(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


def request(method: str, path: str, body: bytes | None = b"", **headers: str) -> bytes:
    """A whole request; a header's name may have ``_`` for ``-``. No content-length with ``body=None``."""
    lines = [f"{method} {path} HTTP/1.1", "host: x", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
    if body is not None and "content_length" not in headers:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def exchange(url: str, content: bytes, *, patience: float = PATIENCE_S) -> Answer:
    """Send on a new connection, stop sending once an answer comes, and return it."""
    with contextlib.suppress(OSError), socket.create_connection(address(url), timeout=patience) as connection:
        connection.setblocking(False)
        return read(connection, content, patience)
    return Answer("closed")


def read(connection: socket.socket, content: bytes = b"", patience: float = PATIENCE_S) -> Answer:
    """Send what a connection takes of the content while waiting for one whole answer on it.

    Args:
        connection: does not block.
        content: what to send.
        patience: seconds to wait for the next byte of the answer.
    """
    left, received = memoryview(content), bytearray()
    end = time.monotonic() + patience
    while (rest := end - time.monotonic()) > 0:
        readable, writable, _ = select.select([connection], [connection] if left else [], [], rest)
        if readable:
            try:
                part = connection.recv(1 << 20)
            except OSError:
                part = b""
            received += part
            if not part or _is_whole(received):
                return _answer(received, reusable=bool(part) and not left)
        if writable:
            try:
                left = left[connection.send(left[: 1 << 18]) :]
            except OSError:
                left = left[:0]  # it is closed for what we send; an answer may still be there
    return Answer("none", size=len(received))


def _is_whole(received: bytearray) -> bool:
    head, mark, rest = received.partition(b"\r\n\r\n")
    if not mark:
        return False
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return len(rest) >= int(value)
    return rest.endswith(b"0\r\n\r\n")


def _answer(received: bytearray, *, reusable: bool) -> Answer:
    head, mark, rest = received.partition(b"\r\n\r\n")
    if not mark:
        return Answer("closed", size=len(received))
    reusable = reusable and b"connection: close" not in head.lower()
    status = head[9:12].decode("latin-1")
    return Answer(status, sentence_of(bytes(rest)) if status >= "400" else "", len(received), reusable)


class Client:
    """One connection after another, each kept for as long as the server lets it be used."""

    def __init__(self, url: str) -> None:
        self._address = address(url)
        self._connection: socket.socket | None = None

    def ask(self, content: bytes) -> Answer:
        """Send a whole request, and return its answer."""
        answer = self._once(content) if self._connection else Answer("closed")
        return self._once(content) if answer.status == "closed" else answer

    def _once(self, content: bytes) -> Answer:
        if self._connection is None:
            self._connection = socket.create_connection(self._address)
            self._connection.setblocking(False)
        answer = read(self._connection, content)
        if not answer.reusable:
            self.close()
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def sentence_of(body: bytes) -> str:
    """The error of an answer; any text that is not JSON counts as one."""
    try:
        content: Any = json.loads(body)
    except ValueError:
        return body[:2000].decode("latin-1")
    return str(content.get("error", "")) if isinstance(content, dict) else ""
