"""Any value anywhere in a request is read or refused, at no more than the cost of its bytes.

A new thing to send is one more of ``LARGE``, a new place for it one more of ``PLACES``.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.protocol.plain import ClassifyCodec
from lading.protocol.proto import inference_pb2 as pb
from tests.given.small_codecs import (
    IMAGE,
    LINES,
    MANY,
    MB,
    NUMBERS,
    PICTURE,
    TEXT,
    budget,
    dumped,
    grpc,
    message,
    model_of,
    plain,
    rest,
    tensor,
)
from tests.given.work import bytes_taken, lines_run

LARGE: dict[str, Any] = {
    "a long text": "x" * 100_000,
    "a text that repr makes longer": "\0" * 20_000,
    "a long list": [1] * MANY,
    "a list of lists": [[]] * 10_000,
    "a deep list": json.loads("[" * 900 + "]" * 900),
    "an object": {str(number): number for number in range(10_000)},
    "a large number": 2**63,
    "a number with an exponent": 1e308,
    "a negative number": -1,
    "null": None,
    "true": True,
    "an empty list": [],
    "an empty object": {},
    "an empty text": "",
    "a list of objects": [{}] * 10_000,
    "a list of texts": ["x" * 100] * 1_000,
}
GOOD = {
    "id": "a",
    "parameters": {"binary_data_output": False},
    "inputs": [
        tensor(NUMBERS, "FP32", [1, 4], data=[1, 2, 3, 4], parameters={}),
        tensor(IMAGE, "BYTES", [1], data=[TEXT]),
    ],
    "outputs": [{"name": "shade", "parameters": {"binary_data": False}}],
}
PLACES: list[tuple[str | int, ...]] = [
    ("id",),
    ("parameters",),
    ("parameters", "binary_data_output"),
    ("parameters", "more"),
    ("inputs",),
    ("outputs",),
    ("outputs", 0),
    ("outputs", 0, "name"),
    ("outputs", 0, "parameters"),
    ("outputs", 0, "parameters", "binary_data"),
    ("more",),
]
PLACES += [
    ("inputs", place, field) for place in (0, 1) for field in ("name", "datatype", "shape", "data", "parameters")
]
PLACES += [("inputs", place, "parameters", "binary_data_size") for place in (0, 1)]
PLACES += [("inputs", place, field, 0) for place in (0, 1) for field in ("shape", "data")]
PLACES += [("inputs", place) for place in (0, 1)]


def changed(place: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """A good request with another value somewhere."""
    content: Any = json.loads(json.dumps(GOOD))
    inner = content
    for step in place[:-1]:
        inner = inner.setdefault(step, {}) if isinstance(inner, dict) else inner[step]
    inner[place[-1]] = value
    return content  # type: ignore[no-any-return]


def test_the_request_that_is_changed_is_good() -> None:
    assert rest(dumped(GOOD), NUMBERS, IMAGE)


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_any_value_anywhere_is_read_or_refused_at_no_more_than_its_size(value: object) -> None:
    for place in PLACES:
        body = dumped(changed(place, value))
        assert lines_run(lambda body=body: rest(body, NUMBERS, IMAGE)) < 2 * MANY + LINES, place  # type: ignore[misc]
        assert bytes_taken(lambda body=body: rest(body, NUMBERS, IMAGE)) < 20 * len(body) + 800_000, place  # type: ignore[misc]


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_any_value_is_read_or_refused_as_a_plain_input(value: object) -> None:
    for content in (value, {"image": value}, {"image": [value]}, {"image": [TEXT, value]}, {"more": value}):
        body = dumped(content)
        assert lines_run(lambda body=body: plain(body, IMAGE)) < 2 * MANY + LINES  # type: ignore[misc]
        assert bytes_taken(lambda body=body: plain(body, IMAGE)) < 20 * len(body) + 800_000  # type: ignore[misc]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda one: st.lists(one) | st.dictionaries(st.text(), one),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PLACES), JSON)
def test_any_json_anywhere_is_read_or_refused(place: tuple[str | int, ...], value: object) -> None:
    assert lines_run(lambda: rest(dumped(changed(place, value)), NUMBERS, IMAGE)) < LINES


TEXTS = st.sampled_from(["", "numbers", "image", "FP32", "UINT8", "BYTES", "shade", "x" * 100_000, "\0" * 50_000])
SIZES = st.lists(st.sampled_from([-1, 0, 1, 4, 5, 2**31, 2**62]), max_size=6) | st.just([1] * MANY)


@settings(max_examples=300, deadline=None)
@given(
    name=TEXTS,
    datatype=TEXTS,
    shape=SIZES,
    message_id=TEXTS,
    outputs=st.lists(TEXTS, max_size=4),
    raw=st.lists(st.binary() | st.just(bytes(16)), max_size=3),
    floats=st.sampled_from([0, 4, 100_000]),
    files=st.sampled_from([[], [PICTURE], [b""] * MANY]),
)
def test_any_message_is_read_or_refused(
    *,
    name: str,
    datatype: str,
    shape: list[int],
    message_id: str,
    outputs: list[str],
    raw: list[bytes],
    floats: int,
    files: list[bytes],
) -> None:
    sent = message(name, datatype, shape, *raw, fp32_contents=[1] * floats, bytes_contents=files)
    sent.id = message_id
    sent.outputs.extend([pb.ModelInferRequest.InferRequestedOutputTensor(name=output) for output in outputs])
    assert lines_run(lambda: grpc(sent, NUMBERS)) < LINES
    assert bytes_taken(lambda: grpc(sent, IMAGE)) < sent.ByteSize() + 500_000


CLASSIFIED = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"", PICTURE[:20]]
TYPES_SENT = [
    "",
    "image/png",
    "multipart/form-data; boundary=b",
    "text/plain" * 5_000,
    "multipart/form-data; boundary=" + "b" * 5_000,
]


@pytest.mark.parametrize("kind", TYPES_SENT)
@pytest.mark.parametrize("start", CLASSIFIED)
def test_any_file_is_classified_or_refused(start: bytes, kind: str) -> None:
    for tail in (
        b"",
        bytes(MB),
        b"\xff" * MB,
        b"\xff\xe0\0\2" * (MB // 4),
        b"\xff\xda\0\2" * (MB // 4),
        b"--b\r\n" * MANY,
    ):
        body = start + tail

        def classify(body: bytes = body) -> object:
            return ClassifyCodec(model_of(IMAGE), {b"content-type": kind.encode()}, budget()).read(body)

        assert lines_run(classify) < 15 * LINES
        assert bytes_taken(classify) < 4 * len(body) + 500_000
