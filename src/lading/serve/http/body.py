"""The body of an inference request: bounded in bytes and in time, decompressed in a lane."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from lading.errors import BodyTooLargeError, ContentTypeError, ExpiredError, RequestError
from lading.protocol.codec import Codec, Encoded
from lading.protocol.plain import PlainModel
from lading.spec import Array

Kind = Callable[[PlainModel, Mapping[bytes, bytes], int], Codec[bytes, Encoded]]
"""Makes a codec from the model, the headers, and the limit of pixels."""
# zlib's window bits: 16 more for gzip's header; deflate is sent with zlib's header by some clients and bare by others.
_GZIP, _ZLIB, _BARE = 31, 15, -15


async def read_body(receive: Receive, declared: int, limit: int, timeout_s: float) -> bytes:
    """Read the whole body from an ASGI server.

    Args:
        receive: ASGI's.
        declared: length as the header says, in bytes; 0 when it does not.
        limit: maximum, in bytes.
        timeout_s: how long the body may take, in seconds.

    Raises:
        BodyTooLargeError: from the declared length, or as soon as more than ``limit`` has arrived.
        ClientDisconnect: the client went away.
        ExpiredError: the body did not arrive in time.
    """
    if declared > limit:
        raise BodyTooLargeError(f"the body has {declared} bytes; at most {limit} are accepted")
    try:
        async with asyncio.timeout(timeout_s):
            chunks, size, more = [], 0, True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk: bytes = message.get("body", b"")
                more = message.get("more_body", False)
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise BodyTooLargeError(f"the body has more than {limit} bytes, which is the most that is accepted")
            return b"".join(chunks)
    except TimeoutError:
        raise late_body(timeout_s) from None


def late_body(timeout_s: float) -> ExpiredError:
    """The error of a body that takes longer than ``timeout_s`` seconds."""
    return ExpiredError(f"the body did not arrive within {timeout_s:g} s")


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
        raise ContentTypeError(f"the content encoding {encoding!r} is not read here: send gzip, deflate or neither")
    problem = "it is cut short"
    for window in windows:
        inflator = zlib.decompressobj(window)
        try:
            inflated = inflator.decompress(data, limit + 1)
        except zlib.error as error:
            problem = str(error)
            continue
        if len(inflated) > limit:
            raise BodyTooLargeError(f"the body inflates to more than {limit} bytes, which is the most that is accepted")
        if inflator.eof:
            return inflated
    raise RequestError(f"the body cannot be inflated as {encoding}: {problem}")
