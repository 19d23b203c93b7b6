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
    """The ports that the settings name, open from :meth:`start` to :meth:`stop`.

    Args:
        app: what answers.
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
        """Listen.

        Returns:
            The HTTP and the gRPC port; 0 for one that is off.

        Raises:
            ServerError: the gRPC port is taken.
        """
        settings = self._settings
        http, grpc = 0, 0
        if settings.grpc_port != "off":
            # grpcio and protobuf take a tenth of the start, and only with this port.
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
        """Tell gRPC health checks whether the models are ready now, and when all workers are."""
        await self._app.health.all_ready()
        if self._grpc is not None:
            await self._grpc.show_readiness()

    async def stop(self) -> None:
        """Accept nothing more, tell idle connections to close, and return when all others have been answered."""
        closing = []
        if self._grpc is not None:
            closing.append(asyncio.ensure_future(self._grpc.stop(self._settings.drain_s)))
        if self._http is not None and self._serving is not None:
            self._http.should_exit = True
            closing.append(self._serving)
        await asyncio.gather(*closing)


def run_worker(settings: Settings, parent: int | None = None) -> None:
    """Serve from this process alone, or as one of several workers.

    Args:
        settings: of the whole server.
        parent: a file descriptor that becomes readable when the process that started this one has ended.

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
    """Spare the garbage collector what was made until now, for the rest of the process: a full pass takes long."""
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
    """uvicorn without its signal handlers: the process has other ports to close too."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int, setting: str, *, shared: bool = False) -> socket.socket:
    """Open a listening socket first, so that a taken port is one sentence; ``shared`` with other workers' sockets.

    Raises:
        ServerError: the port is taken, or the address is not this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048, reuse_port=shared)
    except OSError as error:
        raise port_error(host, port, setting, error) from None


def port_error(host: str, port: int, setting: str, error: OSError) -> ServerError:
    """Say why a port cannot be opened, and what to do."""
    reasons = {
        errno.EADDRINUSE: f"is in use: stop what listens there, or choose another with {setting} (off: none)",
        errno.EACCES: "needs rights that this process does not have: choose one above 1023",
        errno.EADDRNOTAVAIL: "cannot be opened: that address is not this machine's",
    }
    reason = reasons.get(error.errno or 0, f"cannot be opened: {error.strerror}")
    return ServerError(f"port {port} of {host} {reason}")
