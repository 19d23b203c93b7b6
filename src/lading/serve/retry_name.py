"""What makes two requests attempts at the same thing: the id that the client sent, its key, route, model and body."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lading.errors import RequestError
from lading.errors.sentences import shown
from lading.record.exchange import USABLE_ID
from lading.serve.engine.pieces import Pieces

IDEMPOTENCY_KEY = b"idempotency-key"
_LONGEST_KEY = 255
_READ_BY_CODECS = (b"content-type", b"content-encoding", b"inference-header-content-length")


class RetryName(NamedTuple):
    """The same for all attempts at the same thing."""

    key: bytes
    """Digest of caller, the form it accepts, route, model and id."""
    content: bytes
    """Digest of the body, and of the headers that say how to read it."""

    @classmethod
    def of(cls, id_: RetryId, headers: Mapping[bytes, bytes], *route: str, body: Any) -> RetryName:
        """Name a request. Takes 1.5 ms per megabyte, without the interpreter lock.

        ``idempotency-key`` promises that the body is the same. ``x-request-id`` does not: services pass it on to all
        requests of one user action. So its bodies are told apart.

        Args:
            id_: of :func:`retry_id`.
            headers: HTTP's headers or gRPC's metadata.
            route: protocol, path, and the model's name, variant and digest.
            body: bytes, pieces of them, or a protobuf message.
        """
        content = _digest(*(headers.get(name, b"") for name in _READ_BY_CODECS), last=_bytes_of(body))
        caller = (headers.get(b"authorization", b""), headers.get(b"accept", b""))
        told_apart = () if id_.promised else (content,)
        kind = b"key" if id_.promised else b"id"
        return cls(_digest(*caller, *(part.encode() for part in route), kind, id_.value, *told_apart), content)


class RetryId(NamedTuple):
    """The id that a client sent."""

    value: bytes
    promised: bool
    """It is an ``idempotency-key``: requests with this id have the same body."""


def retry_id(headers: Mapping[bytes, bytes]) -> RetryId | None:
    """The id of a request that can be a retry; ``None`` where its client sent none.

    Raises:
        RequestError: the ``idempotency-key`` is empty, too long, or not visible ASCII.
    """
    promised, sent = headers.get(IDEMPOTENCY_KEY), headers.get(b"x-request-id")
    if promised is None:
        return RetryId(sent, False) if sent is not None and USABLE_ID.fullmatch(sent.decode("latin-1")) else None
    if not (0 < len(promised) <= _LONGEST_KEY and promised.isascii() and promised.decode().isprintable()):
        raise RequestError(f"idempotency-key is {shown(promised)}: send 1 to {_LONGEST_KEY} visible ASCII characters")
    return RetryId(promised, True)


def _bytes_of(body: Any) -> Iterable[bytes]:
    if isinstance(body, Pieces):
        return body
    return [body if isinstance(body, bytes) else body.SerializeToString(deterministic=True)]


def _digest(*parts: bytes, last: Iterable[bytes] = ()) -> bytes:
    """SHA-256 of parts, which differ wherever one of them does, and of pieces that end them."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    for piece in last:
        digest.update(piece)
    return digest.digest()
