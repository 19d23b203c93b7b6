"""How many connections are open at once, and what the others are answered."""

from __future__ import annotations

from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lading.serve.http.cors import Cors
from lading.serve.http.endpoint import without_slash
from lading.serve.keys import OPEN_PATHS

RESERVE = 64
"""Connections beyond the limit on which probes and scrapes are answered: a crowd must not have the pod restarted."""
NO_LIMIT = 2**31
OWN = 128
"""File descriptors that the server needs besides connections: libraries, models, logs, gRPC's own."""
_FULL_BODY = b'{"error":"as many connections are open as may","status":503,"request_id":""}'
_FULL_HEADERS = [(b"content-type", b"application/json"), (b"retry-after", b"1"), (b"connection", b"close")]
_FULL_HEADERS.append((b"content-length", b"%d" % len(_FULL_BODY)))


def full(cors: Cors | None) -> bytes:
    """What a connection beyond the reserve is answered."""
    headers = [*_FULL_HEADERS, *(cors.of_refusal(()) if cors else ())]
    lines = (b"%s: %s\r\n" % header for header in headers)
    return b"HTTP/1.1 503 Service Unavailable\r\n%s\r\n%s" % (b"".join(lines), _FULL_BODY)


def probes_only(app: ASGIApp) -> ASGIApp:
    """Refuse everything but probes and scrapes, and close the connection after either."""
    close = (b"connection", b"close")

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], close]
            await send(message)

        if without_slash(scope["path"]) in OPEN_PATHS:
            await app(scope, receive, send_and_close)
            return
        await send({"type": "http.response.start", "status": 503, "headers": [*_FULL_HEADERS]})
        await send({"type": "http.response.body", "body": _FULL_BODY})

    return answer


def raise_limit() -> int:
    """Raise the soft limit to the hard one, as every server of many connections does, and return it."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit
        return NO_LIMIT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # macOS says that there is no limit, and refuses to be asked for that
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return NO_LIMIT if soft == resource.RLIM_INFINITY else soft


def most_connections(wanted: int) -> int:
    """The wanted number of connections, or what the limit of open files allows: the next one is refused at once."""
    return max(1, min(wanted, raise_limit() - OWN))
