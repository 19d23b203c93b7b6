"""uvicorn's server, which answers the connections that the kernel has accepted before it closes its port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

LAST_HANDSHAKE_S = 5.0
"""Maximum seconds of the TLS handshake of a connection that waited while the server stops."""


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers, and with an end that resets no connection.

    A client is connected once the kernel has its connection in the listen backlog, long before the event loop accepts
    it on a busy machine. Closing the port resets all of them. So they are accepted first, and answered.
    """

    def __init__(self, config: uvicorn.Config, handshake_s: float) -> None:
        super().__init__(config)
        self._handshake_s = handshake_s

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer at the sockets. Unlike uvicorn's, a TLS handshake that stalls is ended like headers that stall."""
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()
        config = self.config
        self.servers = [
            await loop.create_server(
                self._protocol, sock=listener, backlog=config.backlog, **_tls(config, self._handshake_s)
            )
            for listener in sockets or []
        ]
        self.started = True

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        made: asyncio.Protocol = make(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )
        return made

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept what is in the backlog, close the ports, and answer. Clients are asked to close their connections."""
        listeners = sockets or []
        # Nothing is awaited from here until the ports are closed, so that no connection comes in between.
        accepted = [one for listener in listeners for one in _backlog(listener)]
        for server in self.servers:
            server.close()
        for listener in listeners:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if accepted:
            opening = [asyncio.create_task(self._open(one)) for one in accepted]
            await asyncio.wait(opening, timeout=self.config.timeout_graceful_shutdown)
        await super().shutdown(sockets)

    async def _open(self, accepted: socket.socket) -> None:
        """Serve a connection that was accepted here and not by the event loop."""
        loop = asyncio.get_running_loop()
        with suppress(OSError):  # the client is gone, or its handshake failed
            tls = _tls(self.config, LAST_HANDSHAKE_S)
            _, opened = await loop.connect_accepted_socket(self._protocol, accepted, **tls)
            opened.shutdown()  # type: ignore[attr-defined]


def _tls(config: uvicorn.Config, handshake_s: float) -> dict[str, Any]:
    return {"ssl": config.ssl, "ssl_handshake_timeout": handshake_s} if config.ssl else {}


def _backlog(listener: socket.socket) -> Iterator[socket.socket]:
    """Accept every connection that the kernel has for a listener."""
    listener.setblocking(False)
    with suppress(OSError):  # none is left, or no file descriptor is
        while True:
            accepted, _ = listener.accept()
            accepted.setblocking(False)
            yield accepted
