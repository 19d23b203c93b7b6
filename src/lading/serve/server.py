"""``lading serve``: the lean app on a port of its own."""

from __future__ import annotations

import errno
import signal
import socket

import structlog
import uvicorn

from lading.errors import ServerError
from lading.serve.app import create_app
from lading.serve.structured_log import configure_logging
from lading.settings import Settings, unknown_variables

log = structlog.get_logger("lading.server")


def serve(settings: Settings | None = None) -> None:
    """Serve until SIGINT or SIGTERM, then answer what was accepted and return.

    Raises:
        ArtifactError: the artifact cannot be served.
        ServerError: the port is taken, or the address is not this machine's.
        SettingsError: no artifact is named.
    """
    settings = settings or Settings()
    configure_logging(settings)
    for sentence in unknown_variables():
        log.warning(sentence)
    app = create_app(settings)
    listener = listen(settings.http_host, settings.http_port)
    host, port = listener.getsockname()[:2]
    log.info("listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.drain_s,
    )
    # uvicorn raises a signal once more when it has drained; stopping as asked is not a failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listener])
    log.info("stopped")


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket first, so that a taken port is one sentence.

    Raises:
        ServerError: the port is taken, or the address is not this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: "is in use: stop what listens there, or choose another with --port or LADING_HTTP_PORT",
            errno.EACCES: "needs rights that this process does not have: choose one above 1023",
            errno.EADDRNOTAVAIL: "cannot be opened: that address is not this machine's",
        }
        reason = reasons.get(error.errno or 0, f"cannot be opened: {error.strerror}")
        raise ServerError(f"port {port} of {host} {reason}") from None
