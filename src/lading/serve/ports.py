"""The lean HTTP port and the gRPC port of one worker, over one engine."""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
import uvicorn

from lading.errors import ServerError
from lading.serve.health import share_of_one
from lading.serve.http.app import App
from lading.serve.http.lean import LeanHttp
from lading.settings import Settings

if TYPE_CHECKING:
    from lading.serve.grpc.server import GrpcServer

log = structlog.get_logger("lading.server")


class Ports:
    """The configured ports, open from :meth:`start` to :meth:`stop`.

    Args:
        app: answers the requests.
        settings: addresses, limits, certificates.

    Raises:
        ServerError: a port is taken, or an address is not this machine's.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._http: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._listener: socket.socket | None = None
        self._grpc: GrpcServer | None = None
        if settings.http_port != "off":
            shared = settings.workers > 1
            self._listener = listen(settings.http_host, settings.http_port, "LADING_HTTP_PORT", shared=shared)
            self._http = _OwnSignals(_config(app, settings))

    async def start(self) -> tuple[int, int]:
        """Open the ports.

        Returns:
            The HTTP port and the gRPC port; 0 for a port that is off.

        Raises:
            ServerError: the gRPC port is taken.
        """
        settings = self._settings
        http, grpc = 0, 0
        if settings.grpc_port != "off":
            # Imported here: grpcio and protobuf take a tenth of the start, and only this port needs them.
            from lading.serve.grpc.server import GrpcServer

            self._grpc = GrpcServer(self._app, settings)
            grpc = await self._grpc.start()
            log.info("listening", protocol="grpc", address=f"{settings.http_host}:{grpc}")
        if self._http is not None and self._listener is not None:
            host, http = self._listener.getsockname()[:2]
            scheme = "https" if settings.tls_certificate else "http"
            log.info("listening", url=f"{scheme}://{f'[{host}]' if ':' in host else host}:{http}")
            self._serving = asyncio.create_task(self._http.serve(sockets=[self._listener]))
        return http, grpc

    async def show_readiness(self) -> None:
        """Wait until all workers are ready, then update the gRPC health service."""
        await self._app.health.all_ready()
        if self._grpc is not None:
            await self._grpc.show_readiness()

    async def stop(self) -> None:
        """Accept no more requests, close idle connections, and wait until open requests are answered."""
        closing = []
        if self._grpc is not None:
            closing.append(asyncio.ensure_future(self._grpc.stop(self._settings.drain_s)))
        if self._http is not None and self._serving is not None:
            self._http.should_exit = True
            closing.append(self._serving)
        await asyncio.gather(*closing)


def run_worker(settings: Settings, parent: int | None = None) -> None:
    """Serve in this process, as the only worker or one of several.

    Args:
        settings: settings of the whole server. Limits are divided by the number of workers.
        parent: a file descriptor that becomes readable when the parent process ends. The worker then stops.

    Raises:
        LadingError: as :func:`serve`.
    """
    with asyncio.Runner(loop_factory=_uvloop) as runner:
        runner.run(_serve(share_of_one(settings), parent))


async def _serve(settings: Settings, parent: int | None) -> None:
    app = App(settings)
    ports = Ports(app, settings)
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def orphaned(parent: int) -> None:
        loop.remove_reader(parent)
        asked_to_stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop.set)
    if parent is not None:
        loop.add_reader(parent, orphaned, parent)
    await ports.start()
    starting = asyncio.create_task(_start(app, ports))
    await asked_to_stop.wait()
    log.info("stopping")
    app.prepare_to_stop()
    await starting
    await ports.stop()
    await app.stop()


async def _start(app: App, ports: Ports) -> None:
    await app.start()
    freeze_what_stays()
    await ports.show_readiness()


def freeze_what_stays() -> None:
    """Exclude all objects so far from garbage collection: a full pass over the models would take long."""
    gc.freeze()
    gc.enable()


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


def _config(app: App, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
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


class _OwnSignals(uvicorn.Server):
    """uvicorn without its signal handlers: this process has other ports to close too."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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
        errno.EADDRNOTAVAIL: "cannot be opened: this machine does not have that address",
    }
    reason = reasons.get(error.errno or 0, f"cannot be opened: {error.strerror}")
    return ServerError(f"port {port} of {host} {reason}")
