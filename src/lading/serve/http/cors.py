"""CORS: which web pages of other origins may call this server from a browser.

Starlette's middleware decides. It is around every app of a connection, so preflights need no key, and errors can be
read by the page. Answers that the connection gives without an app get the same headers from :meth:`Cors.of_refusal`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

METHODS = ("GET", "HEAD", "POST")
EXPOSED = (
    "x-request-id",
    "retry-after",
    "idempotency-replayed",
    "inference-header-content-length",
    "traceparent",
    "tracestate",
    "www-authenticate",
)
"""Headers of answers that a page may read, besides those that every page may."""
PREFLIGHT_S = 7200
"""Seconds that a browser keeps the answer to a preflight: Chromium's maximum."""

Headers = list[tuple[bytes, bytes]]


class Cors:
    """What the setting allows. No answer allows credentials: keys are headers that a page sets, never cookies.

    Args:
        origins: exact origins such as ``https://app.example.com``, or ``*`` alone.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self._around = partial(
            CORSMiddleware,
            allow_origins=tuple(origins),
            allow_methods=METHODS,
            # Every header that the page wants: tracing libraries add their own, and none of them is a permission.
            allow_headers=("*",),
            # Chromium asks before a public page calls a private address. Naming an origin already permits it.
            allow_private_network=True,
            expose_headers=EXPOSED,
            max_age=PREFLIGHT_S,
        )
        self._policy = self._around(_no_app)
        self._every = "*" in origins
        self._only = origins[0].encode() if len(origins) == 1 and not self._every else None
        self._exposed: Headers = [(b"access-control-expose-headers", ", ".join(EXPOSED).encode())]

    def around(self, app: ASGIApp) -> ASGIApp:
        """The app with the headers on each of its answers, and preflights answered."""
        return self._around(app)

    def of_refusal(self, sent: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Headers of an answer that no app gives.

        Args:
            sent: headers of the request as far as they were read, names in lower case.
        """
        if self._every:
            return [(b"access-control-allow-origin", b"*"), *self._exposed]
        # Where the request was not read, the only allowed origin is named. Pages of others still cannot read it.
        origin = next((value for name, value in sent if name == b"origin"), self._only)
        if origin is None or not self._policy.is_allowed_origin(origin.decode("latin-1")):
            return [(b"vary", b"Origin")]
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin"), *self._exposed]


async def _no_app(*_: object) -> None:
    """Stands for the app where only the policy is used."""
