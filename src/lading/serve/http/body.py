"""Bodies over HTTP: bounded in bytes and in time, decompressed in a lane."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from lading.budget import Budget
from lading.errors import BodyTooLargeError, ContentTypeError, LateBodyError, RequestError
from lading.errors.sentences import shown
from lading.protocol.codec import Codec, Encoded
from lading.protocol.plain import PlainModel
from lading.serve.engine.pieces import Pieces
from lading.spec import Array

Kind = Callable[[PlainModel, Mapping[bytes, bytes], Budget], Codec[bytes, Encoded]]
"""Makes a codec from the model, the headers, and what reading may cost."""
# zlib's window bits: 16 more for gzip's header; deflate is sent with zlib's header by some clients and bare by others.
_GZIP, _ZLIB, _BARE = 31, 15, -15


class BoundedReceive:
    """ASGI's ``receive`` with limits: raises when the body is too large or too slow.

    Args:
        receive: ASGI's.
        limit: maximum of the whole body, in bytes.
        timeout_s: how long the whole body may take from now on, in seconds.
        arrived: called with the bytes so far; may raise.
    """

    def __init__(
        self, receive: Receive, limit: int, timeout_s: float, arrived: Callable[[int], None] | None = None
    ) -> None:
        self._receive, self._limit, self._timeout_s, self._arrived = receive, limit, timeout_s, arrived
        self._end = asyncio.get_running_loop().time() + timeout_s
        self._size = 0
        self._complete = False

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            BodyTooLargeError: more than the limit has arrived.
            LateBodyError: the body did not arrive in time.
        """
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._end):
                message = await self._receive()
        except TimeoutError:
            raise late_body(self._timeout_s) from None
        self._size += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._size > self._limit:
            raise BodyTooLargeError(f"the body has more than {self._limit} bytes, which is the most that is accepted")
        if self._arrived is not None:
            self._arrived(self._size)
        return message


async def read_body(receive: BoundedReceive) -> Pieces:
    """Read the whole body from an ASGI server.

    Raises:
        BodyTooLargeError, LateBodyError: as :class:`BoundedReceive`.
        ClientDisconnect: the client went away.
    """
    body, more = Pieces(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body.add(message.get("body", b""))
        more = message.get("more_body", False)
    return body


def declared_length(headers: Mapping[bytes, bytes]) -> int:
    """The header ``content-length``, in bytes; 0 when there is none."""
    length = headers.get(b"content-length", b"")
    # More digits than any length has: int() takes long for thousands.
    return int(length[:20]) if length.isdigit() else 0


def check_length(declared: int, limit: int) -> None:
    """Refuse a body by its declared length.

    Raises:
        BodyTooLargeError: it has more than ``limit`` bytes.
    """
    if declared > limit:
        raise BodyTooLargeError(f"the body has {declared} bytes; at most {limit} are accepted")


def late_body(timeout_s: float) -> LateBodyError:
    """The error of a body that takes longer than ``timeout_s`` seconds."""
    return LateBodyError(f"the body did not arrive within {timeout_s:.3g} s: send it sooner, or in smaller requests")


class Compressed:
    """A codec for bodies with a ``content-encoding``, in front of the codec of the endpoint.

    Args:
        codec: reads what the body decompresses to, and writes the answer.
        encoding: as the header names it.
        limit: maximum of the decompressed body, in bytes.
    """

    brief = False

    def __init__(self, codec: Codec[bytes, Encoded], encoding: bytes, limit: int) -> None:
        self._codec, self._encoding, self._limit = codec, encoding.decode("latin-1").lower(), limit
        self.write = codec.write

    @property
    def message_id(self) -> str | None:
        return self._codec.message_id

    def read(self, body: bytes) -> Mapping[str, Array]:
        """Decompress and read.

        Raises:
            BodyTooLargeError, ContentTypeError, RequestError: as :func:`inflate`, and the codec's.
        """
        return self._codec.read(inflate(body, self._encoding, self._limit))


def inflate(data: bytes, encoding: str, limit: int) -> bytes:
    """Decompress gzip or deflate into at most ``limit`` bytes.

    Raises:
        BodyTooLargeError: it decompresses to more.
        ContentTypeError: the encoding is neither gzip nor deflate.
        RequestError: the data are corrupt.
    """
    windows: tuple[int, ...]
    if encoding in ("gzip", "x-gzip"):
        windows = (_GZIP,)
    elif encoding == "deflate":
        windows = (_ZLIB, _BARE) if data[:1] and data[0] & 0x0F == 8 else (_BARE,)
    else:
        raise ContentTypeError(
            f"the content encoding {shown(encoding)} is not read here: send gzip, deflate or neither"
        )
    problem = "it is cut short"
    for window in windows:
        inflator = zlib.decompressobj(window)
        try:
            inflated = inflator.decompress(data, limit + 1)
        except zlib.error as error:
            problem = str(error).rpartition(": ")[2]
            continue
        if len(inflated) > limit:
            raise BodyTooLargeError(f"the body inflates to more than {limit} bytes, which is the most that is accepted")
        if inflator.eof:
            return inflated
    raise RequestError(
        f"the body cannot be inflated as {encoding}: {problem}; leave out content-encoding if it is not compressed"
    )
