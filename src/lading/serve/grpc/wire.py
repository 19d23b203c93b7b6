"""Parses messages, after counting in their bytes what they would cost: two bytes may become an object of a hundred."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from lading.errors import BodyTooLargeError, LadingError, RequestError

SMALL = 4_096
"""Bytes of a message that costs little whatever it holds, and is not counted."""
MOST_FIELDS = 2_048
"""Maximum fields of a message at all depths, in addition to one per example and input."""
MOST_TEXT = 262_144
"""Maximum bytes of text in a message: names, ids, datatypes, parameters. Text becomes Python strings on the loop."""
MOST_PLAIN = 65_536
"""Maximum bytes of a message of another service, which is a name."""
_BEGINNINGS = (
    (b"\x1f\x8b", "is gzip: leave compression to the gRPC library (grpc.Compression.Gzip)"),
    (b"{", "is JSON: send JSON over REST"),
    (b"[", "is JSON: send JSON over REST"),
    (b"\xff\xd8\xff", "is a JPEG: send the file as an input of datatype BYTES"),
    (b"\x89PNG", "is a PNG: send the file as an input of datatype BYTES"),
)
"""How bytes begin that clients send instead of a message, and what to do."""
_WIDTH = {
    FieldDescriptor.CPPTYPE_FLOAT: 4,
    FieldDescriptor.CPPTYPE_DOUBLE: 8,
}


class Malformed:
    """Stands for a message that was not read.

    Args:
        error: why.
    """

    def __init__(self, error: LadingError) -> None:
        self.error = error


Parse: TypeAlias = Callable[[bytes], "Message | Malformed"]
"""Does not raise: an error in gRPC's own parser would be answered by gRPC, and not counted."""


class Limits:
    """How much a message may hold.

    Args:
        fields: maximum number of fields, at all depths.
        values: maximum number of numbers in packed lists.
    """

    def __init__(self, fields: int, values: int) -> None:
        self._fields, self._values = fields, values

    def check(self, data: bytes, descriptor: Descriptor) -> None:
        """Refuse a message that holds more.

        Args:
            data: the message as it arrived.
            descriptor: its type.

        Raises:
            BodyTooLargeError: it holds more fields or values.
            DecodeError: it is not a message.
        """
        if len(data) > SMALL:
            left = _Left(self._fields, self._values, MOST_TEXT)
            try:
                _count(data, 0, len(data), descriptor, left)
            except IndexError:
                raise DecodeError("the message is cut short") from None
            if left.fields < 0:
                raise BodyTooLargeError(
                    f"the message has more than {self._fields} fields: send numbers as raw_input_contents"
                )
            if left.values < 0:
                raise BodyTooLargeError(
                    f"the message has more than {self._values} values: send them as raw_input_contents"
                )
            if left.text < 0:
                raise BodyTooLargeError(
                    f"the names, ids and parameters of the message have more than {MOST_TEXT} bytes: send shorter ones"
                )

    def parser(self, kind: type[Message]) -> Parse:
        """What parses messages of a kind that hold no more."""

        def parse(data: bytes) -> Message | Malformed:
            try:
                self.check(data, kind.DESCRIPTOR)
                return kind.FromString(data)
            except BodyTooLargeError as error:
                return Malformed(error)
            except DecodeError:
                return Malformed(no_message(data, kind))

        return parse


def plain_parser(parse: Callable[[bytes], Message]) -> Parse:
    """What parses the small messages of another service."""

    def bounded(data: bytes) -> Message | Malformed:
        if len(data) > MOST_PLAIN:
            return Malformed(
                BodyTooLargeError(f"the message has {len(data)} bytes; at most {MOST_PLAIN} are accepted by this call")
            )
        try:
            return parse(data)
        except DecodeError:
            return Malformed(no_message(data, parse.__self__))  # type: ignore[attr-defined]  # FromString of a class

    return bounded


def no_message(data: bytes, kind: type[Message]) -> RequestError:
    """The error for bytes that cannot be parsed as a message of a kind."""
    hint = next((hint for begin, hint in _BEGINNINGS if data.startswith(begin)), "is incomplete, or no protobuf")
    return RequestError(f"the message of {len(data)} bytes is no {kind.DESCRIPTOR.full_name}: it {hint}")


class _Left:
    """What a message may still hold."""

    __slots__ = ("fields", "text", "values")

    def __init__(self, fields: int, values: int, text: int) -> None:
        self.fields, self.values, self.text = fields, values, text


def _count(data: bytes, at: int, end: int, descriptor: Descriptor, left: _Left) -> None:
    fields = descriptor.fields_by_number
    while at < end and left.fields >= 0 and left.values >= 0 and left.text >= 0:
        left.fields -= 1
        tag, at = _varint(data, at)
        field = fields.get(tag >> 3)
        match tag & 7:
            case 2:
                size, at = _varint(data, at)
                if at + size > end:
                    raise DecodeError("a field is longer than the message")
                if field is None:
                    pass
                elif field.message_type is not None:
                    _count(data, at, at + size, field.message_type, left)
                elif field.type == FieldDescriptor.TYPE_STRING:
                    left.text -= size
                elif field.type != FieldDescriptor.TYPE_BYTES:
                    width = _WIDTH.get(field.cpp_type)
                    packed = np.frombuffer(data, np.uint8, size, at)
                    left.values -= size // width if width else int(np.count_nonzero(packed < 128))
                at += size
            case 0:
                _, at = _varint(data, at)
            case 1:
                at += 8
            case 5:
                at += 4
            case _:
                raise DecodeError("a field has an unknown wire type")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise DecodeError("a number has too many bytes")
