"""A codec turns a request's body into the model's inputs, and the model's outputs into an answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, Protocol, TypeVar

from lading.errors.sentences import clipped
from lading.spec import Array

Headers = list[tuple[bytes, bytes]]
JSON: Headers = [(b"content-type", b"application/json")]


class Encoded(NamedTuple):
    """An answer over HTTP: the headers that describe its body, and the body."""

    headers: Headers
    body: bytes


_LONGEST_TYPE = 100  # characters of a media type: errors show it

Body_contra = TypeVar("Body_contra", contravariant=True)
Answer_co = TypeVar("Answer_co", covariant=True)


class Codec(Protocol[Body_contra, Answer_co]):
    """Reads one request and writes its answer. Made from a model, the request headers, and a budget."""

    brief: bool
    """``read`` does no more than parse the body, so the event loop may do it for a small one."""

    @property
    def message_id(self) -> str | None:
        """The id inside the request, once it is known."""

    def read(self, body: Body_contra) -> Mapping[str, Array]:
        """The body to the model's inputs, batch dim included. Runs in a lane.

        Raises:
            RequestError: the body cannot be read; the sentence says what is wrong and where.
        """

    def write(self, outputs: Mapping[str, Array]) -> Answer_co:
        """The outputs, batch dim included, to the answer.

        Raises:
            RequestError: the model has no such output, or a value cannot be written.
        """


def media_type(headers: Mapping[bytes, bytes]) -> str:
    """The content type without its parameters, in lower case and short; empty when there is none."""
    return _media_type(headers.get(b"content-type", b""))


@lru_cache(64)
def _media_type(header: bytes) -> str:
    return clipped(header.partition(b";")[0].strip().lower().decode("latin-1"), _LONGEST_TYPE)


_LONGEST_NUMBER = 18  # digits, so that it fits 64 bits


def whole_number(sent: bytes | str) -> int | None:
    """A whole number as a header or a query writes it; ``None`` for what is not 1 to 18 ASCII digits.

    Python refuses to read a number of more than 4300 digits, with an error that is no error of the client's.
    """
    return int(sent) if len(sent) <= _LONGEST_NUMBER and sent.isascii() and sent.isdigit() else None
