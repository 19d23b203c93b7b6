"""Messages are counted in their bytes before protobuf makes objects of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from lading.errors import BodyTooLargeError
from lading.protocol.proto import inference_pb2 as pb
from lading.serve.grpc.wire import MOST_TEXT, SMALL, Limits

LIMITS = Limits(fields=2_000, values=100_000)
REQUEST = pb.ModelInferRequest.DESCRIPTOR


def field(number: int, payload: bytes) -> bytes:
    """A field with a length."""
    size = len(payload)
    length = b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + payload


def contents(payload: bytes) -> bytes:
    """A message whose one input has these contents."""
    return field(5, field(1, b"x") + field(5, payload))


MANY = 1_000_000
COSTLY: Mapping[str, tuple[str, bytes]] = {
    "inputs": ("fields", field(5, b"") * MANY),
    "outputs": ("fields", field(6, b"") * MANY),
    "parameters": ("fields", field(4, field(1, b"a")) * MANY),
    "raw contents": ("fields", field(7, b"") * MANY),
    "unknown fields": ("fields", field(15, b"") * MANY),
    "unknown numbers": ("fields", b"\x78\x01" * MANY),
    "names": ("fields", field(1, b"") * MANY),
    "parameters of an input": ("fields", field(5, field(4, b"") * MANY)),
    "dims, one by one": ("fields", field(5, b"\x18\x01" * MANY)),
    "dims": ("values", field(5, field(3, b"\x01" * MANY))),
    "bytes": ("fields", contents(field(8, b"") * MANY)),
    "integers": ("values", contents(field(3, b"\x01" * MANY))),
    "unsigned integers": ("values", contents(field(4, b"\x01" * MANY))),
    "truth values": ("values", contents(field(1, b"\x01" * MANY))),
    "long integers": ("values", contents(field(3, b"\x81\x81\x01" * MANY))),
    "numbers": ("values", contents(field(6, bytes(4 * MANY)))),
    "large numbers": ("values", contents(field(7, bytes(8 * MANY)))),
    "integers, one by one": ("fields", contents(b"\x18\x01" * MANY)),
    "inputs in pieces": ("fields", field(5, field(1, b"x")) * MANY),
}


@pytest.mark.parametrize(("kind", "data"), COSTLY.values(), ids=COSTLY)
def test_a_message_of_many_parts_is_refused(kind: str, data: bytes) -> None:
    with pytest.raises(BodyTooLargeError, match=f"more than [0-9]+ {kind}: send .* as raw_input_contents"):
        LIMITS.check(data, REQUEST)


TEXTS: Mapping[str, bytes] = {
    "an id": field(3, b"x" * MOST_TEXT),
    "a name of an input": field(5, field(1, b"x" * MOST_TEXT)),
    "ids": field(3, b"x" * 1000) * 300,
    "names of parameters": field(4, field(1, b"x" * 1000)) * 300,
    "a text of a parameter": field(4, field(1, b"x") + field(2, field(3, b"x" * MOST_TEXT))),
}


@pytest.mark.parametrize("data", TEXTS.values(), ids=TEXTS)
def test_a_message_of_much_text_is_refused(data: bytes) -> None:
    with pytest.raises(BodyTooLargeError, match="send shorter ones"):
        LIMITS.check(data + field(1, b"m"), REQUEST)


@given(inputs=st.integers(0, 5), files=st.integers(0, 128), numbers=st.integers(0, 20_000), raw=st.booleans())
def test_a_usual_message_passes(*, inputs: int, files: int, numbers: int, raw: bool) -> None:
    message = pb.ModelInferRequest(model_name="m", id="i")
    message.parameters["variant"].string_param = "v"
    for place in range(inputs):
        tensor = message.inputs.add(name=f"input-{place}", datatype="BYTES", shape=[1, 2, 3])
        if raw:
            message.raw_input_contents.append(bytes(4 * numbers))
        else:
            tensor.contents.bytes_contents.extend([b"file" * 100] * files)
            tensor.contents.fp32_contents.extend([1.0] * (numbers // 6))
            tensor.contents.int64_contents.extend([-1] * (numbers // 6))
    LIMITS.check(message.SerializeToString(), REQUEST)


@given(st.binary(min_size=SMALL + 1, max_size=SMALL + 200))
def test_bytes_that_are_no_message_are_no_error_of_another_kind(data: bytes) -> None:
    for descriptor in (REQUEST, pb.ModelReadyRequest.DESCRIPTOR):
        try:
            LIMITS.check(data, descriptor)
        except (DecodeError, BodyTooLargeError):
            continue


@pytest.mark.parametrize(
    "end", [b"\x2a", b"\x2a\xff", b"\x2a\x7f", b"\x08" + b"\xff" * 11, b"\x0b", b"\x09", b"\x0d\x00", b"\xff" * 20]
)
def test_a_message_that_is_cut_short_is_no_message(end: bytes) -> None:
    padded = field(7, bytes(SMALL)) + end
    with pytest.raises(DecodeError):
        checked_and_parsed(padded)


def checked_and_parsed(data: bytes) -> pb.ModelInferRequest:
    LIMITS.check(data, REQUEST)
    message: pb.ModelInferRequest = pb.ModelInferRequest.FromString(data)
    return message


def test_nested_messages_are_read_to_their_declared_end_only() -> None:
    with pytest.raises(DecodeError):
        LIMITS.check(field(5, field(1, b"x") + b"\x2a\x7f") + bytes(SMALL), REQUEST)
