"""How many connections are open at once, and what the others are answered."""

from __future__ import annotations

import resource

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lading.serve.keys import OPEN_PATHS

RESERVE = 64
"""Connections beyond the limit on which probes and scrapes are answered: a crowd must not have the pod restarted."""
OWN = 128
"""File descriptors that the server needs besides connections: libraries, models, logs, gRPC's own."""
_FULL_BODY = b'{"error":"as many connections are open as may","status":503,"request_id":""}'
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\nretry-after: 1\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_FULL_BODY), _FULL_BODY)
)
"""What a connection beyond the reserve is answered."""


def probes_only(app: ASGIApp) -> ASGIApp:
    """Refuse everything but probes and scrapes, and close the connection after either."""
    close = (b"connection", b"close")

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], close]
            await send(message)

        if scope["path"] in OPEN_PATHS:
            await app(scope, receive, send_and_close)
            return
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"1"), close]
        headers.append((b"content-length", str(len(_FULL_BODY)).encode()))
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": _FULL_BODY})

    return answer


def raise_limit() -> int:
    """Raise the soft limit to the hard one, as every server of many connections does, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return 2**31 if hard == resource.RLIM_INFINITY else hard


def most_connections(wanted: int) -> int:
    """The wanted number of connections, or what the limit of open files allows: the next one is refused at once."""
    return max(1, min(wanted, raise_limit() - OWN))
