"""A gRPC call as HTTP/2 frames on a socket, for messages that no client library leaves unfinished."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _WINDOW = 0, 1, 4, 8
_ACK, _END_HEADERS = 1, 4


class RawCall:
    """One unfinished call on a connection of its own."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._window = self._stream_window = 65_535
        self._read = b""
        self._ended = False

    def begin(self, method: str, size: int, **more: str) -> None:
        """Send the headers, and the begin of a message of ``size`` bytes; ``_`` stands for ``-`` in a header's name."""
        headers = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "x", "te": "trailers"}
        headers |= {"content-type": "application/grpc"} | {name.replace("_", "-"): more[name] for name in more}
        # Literal fields that enter no table (RFC 7541, 6.2.2), each string with its length.
        fields = ((name.encode(), value.encode()) for name, value in headers.items())
        block = b"".join(bytes([0, len(name)]) + name + bytes([len(value)]) + value for name, value in fields)
        self._connection.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _frame(_HEADERS, _END_HEADERS, 1, block))
        self._connection.sendall(_frame(_DATA, 0, 1, struct.pack(">BI", 0, size)))

    def send(self, size: int, patience_s: float) -> int:
        """Send up to so many bytes of the message, as far as the server's windows let it; the bytes sent."""
        self._connection.settimeout(patience_s)
        sent = 0
        with contextlib.suppress(OSError):
            while sent < size:
                room = min(16_384, self._window, self._stream_window, size - sent)
                if room > 0:
                    self._connection.sendall(_frame(_DATA, 0, 1, bytes(room)))
                    self._window -= room
                    self._stream_window -= room
                    sent += room
                elif self._ended or not (piece := self._connection.recv(65_536)):
                    break
                else:
                    self._take(piece)
        return sent

    def wait_ended(self) -> None:
        """Wait until the server ends the call or the connection."""
        self._connection.settimeout(20)
        with contextlib.suppress(ConnectionError):
            while not self._ended and (piece := self._connection.recv(65_536)):
                self._take(piece)

    def _take(self, data: bytes) -> None:
        self._read += data
        while len(self._read) >= 9 and len(self._read) >= 9 + (size := int.from_bytes(self._read[:3], "big")):
            kind, flags, stream = self._read[3], self._read[4], int.from_bytes(self._read[5:9], "big")
            payload, self._read = self._read[9 : 9 + size], self._read[9 + size :]
            if kind == _WINDOW and stream == 0:
                self._window += int.from_bytes(payload, "big")
            elif kind == _WINDOW:
                self._stream_window += int.from_bytes(payload, "big")
            elif kind == _SETTINGS and not flags & _ACK:
                for at in range(0, len(payload), 6):
                    name, value = struct.unpack(">HI", payload[at : at + 6])
                    if name == 4:  # the first window of a stream
                        self._stream_window += value - 65_535
                self._connection.sendall(_frame(_SETTINGS, _ACK, 0, b""))
            elif stream == 1 and kind in (_HEADERS, 3):
                self._ended = True


@contextlib.contextmanager
def raw_call(address: str) -> Iterator[RawCall]:
    """A connection to the gRPC port."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        yield RawCall(connection)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
