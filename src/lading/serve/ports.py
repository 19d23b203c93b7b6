"""The lean HTTP port and the gRPC port of one worker, over one engine."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING

import structlog
import uvicorn

from lading.errors import ServerError
from lading.serve.http.app import App
from lading.serve.http.lean import LeanHttp
from lading.serve.http.server import HttpServer
from lading.settings import Settings

if TYPE_CHECKING:
    from lading.serve.grpc.server import GrpcServer

log = structlog.get_logger("lading.server")

SHOWN_EVERY_S = 0.25
"""Seconds between two looks at readiness for gRPC's health service."""


class Ports:
    """The configured ports, open from :meth:`start` to :meth:`stop`.

    Args:
        app: answers the requests.
        settings: addresses, limits, certificates.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._http: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._listener: socket.socket | None = None
        self._grpc: GrpcServer | None = None
        self._showing: asyncio.Task[None] | None = None

    async def start(self) -> tuple[int, int]:
        """Open the ports.

        Returns:
            The HTTP port and the gRPC port; 0 for a port that is off.

        Raises:
            ServerError: a port is taken, or an address is not this machine's.
        """
        settings = self._settings
        http, grpc = 0, 0
        if settings.http_port != "off":
            shared = settings.workers > 1
            self._listener = listen(settings.http_host, settings.http_port, "LADING_HTTP_PORT", shared=shared)
            self._http = HttpServer(_config(self._app, settings), settings.header_timeout_s)
        if settings.grpc_port != "off":
            # Imported here: grpcio and protobuf take a tenth of the start, and only this port needs them.
            from lading.serve.grpc.server import GrpcServer

            self._grpc = GrpcServer(self._app, settings)
            try:
                grpc = await self._grpc.start()
            except ServerError:
                if self._listener is not None:
                    self._listener.close()
                raise
            self._showing = asyncio.create_task(self._keep_showing(self._grpc))
            log.info("listening", protocol="grpc", address=f"{settings.http_host}:{grpc}")
        if self._http is not None and self._listener is not None:
            host, http = self._listener.getsockname()[:2]
            scheme = "https" if settings.tls_certificate else "http"
            log.info("listening", url=f"{scheme}://{f'[{host}]' if ':' in host else host}:{http}")
            self._serving = asyncio.create_task(self._http.serve(sockets=[self._listener]))
        return http, grpc

    async def _keep_showing(self, grpc: GrpcServer) -> None:
        """Tell gRPC's health service whenever readiness changes: a model may be loaded or unloaded later."""
        shown = False
        while True:
            if self._app.health.ready != shown:
                shown = not shown
                await grpc.show_readiness()
            await asyncio.sleep(SHOWN_EVERY_S)

    async def show_readiness(self) -> None:
        """Wait until all workers are ready, then update the gRPC health service."""
        await self._app.health.all_ready()
        if self._grpc is not None:
            await self._grpc.show_readiness()

    async def stop(self) -> None:
        """Accept no more requests, close idle connections, and wait until open requests are answered.

        It takes at most ``LADING_DRAIN_S``. Requests that are still open then are left to :meth:`App.stop`.
        """
        if self._showing is not None:
            self._showing.cancel()
        closing = []
        if self._grpc is not None:
            closing.append(asyncio.ensure_future(self._grpc.stop(self._settings.drain_s)))
        if self._http is not None and self._serving is not None:
            self._http.should_exit = True
            closing.append(self._serving)
        if closing:
            ended, open_still = await asyncio.wait(closing, timeout=self._settings.drain_s)
            for one in open_still:
                one.cancel()
            for one in ended:
                if not one.cancelled() and (error := one.exception()) is not None:
                    log.error("a port did not close as it should", exc_info=error)


def _config(app: App, settings: Settings) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=LeanHttp.of(settings, app.endpoint_at),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=settings.drain_s,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    if app.certificates is not None:
        config.load()
        assert config.ssl is not None
        app.certificates.show_on(config.ssl)
    return config


def listen(host: str, port: int, setting: str, *, shared: bool = False) -> socket.socket:
    """Open a listening socket. It is opened before the server starts, so that a taken port is a clear error.

    Args:
        host: address to listen on.
        port: port number; 0 for any free port.
        setting: name of the port's setting, for the error message.
        shared: let other workers listen on the same port.

    Raises:
        ServerError: the port is taken, or the address is not this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048, reuse_port=shared)
    except OSError as error:
        raise port_error(host, port, setting, error) from None


def port_error(host: str, port: int, setting: str, error: OSError) -> ServerError:
    """Return an error that says why a port cannot be opened, and what to do."""
    free = f"stop the process that listens there, or choose another port with {setting} (off: none)"
    reasons = {
        errno.EADDRINUSE: f"is in use: {free}",
        errno.EACCES: "needs privileges that this process does not have: choose a port above 1023",
        errno.EADDRNOTAVAIL: "cannot be opened: this machine does not have that address; choose another with "
        "LADING_HTTP_HOST (0.0.0.0: all of this machine's)",
    }
    if error.errno == errno.EADDRINUSE and not _listens(host, port):
        reasons[errno.EADDRINUSE] = (
            "is kept by a server that starts, or by connections of one that has ended: wait a minute, or choose "
            f"another port with {setting} (off: none)"
        )
    host_setting = "choose one with LADING_HTTP_HOST (0.0.0.0: all of this machine's)"
    reason = reasons.get(error.errno or 0, f"cannot be opened: {error.strerror}; {host_setting}")
    return ServerError(f"port {port} of {host} {reason}")


def _listens(host: str, port: int) -> bool:
    """A process takes connections at a port of this machine."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
