"""How an HTTP connection ends: its client gets what was written, for a bounded time, and is never reset before that."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lading.settings import Settings

LINGER_S = 2.0
"""How long a client may be silent after the last answer of a connection. What it still sends is dropped: if the
connection were closed at once, it would be reset, and the client would lose the answer."""
LONGEST_LINGER_S = 10.0
"""The same for a client that keeps sending. Neither is longer than ``LADING_BODY_TIMEOUT_S``."""
LINGER_BYTES = 256_000_000
"""The same in bytes."""


class LingeringHttp(HttpToolsProtocol):
    """uvicorn's protocol with an end.

    After the last answer, the connection is shut down for writing, and what still arrives is dropped for a moment. An
    answer that is not read ends the connection after ``LADING_BODY_TIMEOUT_S``.

    Args:
        settings: timeouts.
        given, named: uvicorn's.
    """

    _write_clock: asyncio.TimerHandle | None = None
    _close_clock: asyncio.TimerHandle | None = None
    _unsent = 0
    """Bytes of answers that were not sent when the write clock was set."""
    _dropped = 0
    """Bytes that arrived after the answer."""
    _seen = 0
    """Of them, when the close clock was set."""
    _ended = False

    def __init__(self, settings: Settings, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._body_timeout_s = settings.body_timeout_s
        self._linger_s = min(LINGER_S, settings.body_timeout_s)
        self._linger_until = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, _Gentle(transport, self)))
        self._raw = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        for clock in (self._write_clock, self._close_clock):
            if clock is not None:
                clock.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        self.close()  # the transport does so as well, but waits for a client that does not read

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_clock is None:
            self._watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_clock is not None:
            self._write_clock.cancel()
            self._write_clock = None

    def close(self) -> None:
        """Close the connection once what was written is sent, or after the time that a client has to read."""
        if self._close_clock is None and not self._ended:
            self._close_clock = self.loop.call_later(self._body_timeout_s, self._reset)
            self._bound_unread()
        self._raw.close()

    def linger(self) -> None:
        """Send nothing more, drop what arrives, and close soon: the client can read what was sent."""
        if self._ended:
            return
        self._ended = True
        self._unset_keepalive_if_required()
        self._dropped = self._seen = 0
        self._linger_until = self.loop.time() + min(LONGEST_LINGER_S, self._body_timeout_s)
        self._close_clock = self.loop.call_later(self._linger_s, self._abort_if_silent)
        self._bound_unread()
        if not self._raw.is_closing():
            if self._raw.can_write_eof():
                self._raw.write_eof()
            self._raw.resume_reading()

    @property
    def sending(self) -> bool:
        """The client is within a request, or has sent more than was parsed."""
        raise NotImplementedError

    @property
    def reading_may_resume(self) -> bool:
        """Nothing waits to be parsed."""
        raise NotImplementedError

    def _abort_if_silent(self) -> None:
        left = self._linger_until - self.loop.time()
        if self._dropped == self._seen or left <= 0:
            self._raw.abort()
            return
        self._seen = self._dropped
        self._close_clock = self.loop.call_later(min(self._linger_s, left), self._abort_if_silent)

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped > LINGER_BYTES:
            self._reset()

    def _watch_writing(self) -> None:
        self._unsent = self._raw.get_write_buffer_size()
        self._write_clock = self.loop.call_later(self._body_timeout_s, self._check_writing)

    def _check_writing(self) -> None:
        self._write_clock = None
        left = self._raw.get_write_buffer_size()
        if left and left >= self._unsent:
            self._reset()
        elif left:
            self._watch_writing()

    def _reset(self) -> None:
        """End the connection of a client that does not read, at once and also for the kernel.

        Closed in order, the kernel would hold megabytes of answers for minutes, and the client would not hear of it.
        """
        self._set_option(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._raw.abort()

    def _bound_unread(self) -> None:
        """The kernel drops what the client does not read of a closed connection after the same time."""
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            self._set_option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._body_timeout_s * 1000))

    def _set_option(self, level: int, name: int, value: int | bytes) -> None:
        with suppress(OSError):  # the connection is gone
            self._raw.get_extra_info("socket").setsockopt(level, name, value)


class _Gentle:
    """The transport as uvicorn sees it: closing within a request lingers, and reading is resumed when it may be."""

    __slots__ = ("_protocol", "_raw")

    def __init__(self, raw: asyncio.Transport, protocol: LingeringHttp) -> None:
        self._raw, self._protocol = raw, protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def write(self, data: bytes) -> None:
        if not self._protocol._ended:
            self._raw.write(data)

    def is_closing(self) -> bool:
        return self._protocol._ended or self._raw.is_closing()

    def close(self) -> None:
        if self._protocol.sending:
            self._protocol.linger()
        else:
            self._protocol.close()

    def resume_reading(self) -> None:
        if self._protocol.reading_may_resume:
            self._raw.resume_reading()
