"""Reading a request costs no more than its bytes: whatever a client repeats is counted before it is read."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.errors import BodyTooLargeError, InputShapeError, RequestError
from lading.protocol.json_body import count_values
from lading.protocol.oip_grpc import OipGrpcCodec
from lading.protocol.proto import inference_pb2 as pb
from lading.spec import TensorSpec
from tests.given.small_codecs import (
    FLAGS,
    IMAGE,
    MANY,
    NUMBERS,
    PICTURE,
    TEXT,
    WORDS,
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

ELEMENT = len(PICTURE).to_bytes(4, "little") + PICTURE
# The first picture of each kind imports what decodes it.
for first in (PICTURE, b"no picture"):
    lines_run(lambda first=first: plain(dumped({"image": base64.b64encode(first).decode()}), IMAGE))  # type: ignore[misc]
TYPES = {"UINT8": (IMAGE, "uint_contents"), "BYTES": (IMAGE, "bytes_contents"), "FP32": (NUMBERS, "fp32_contents")}
TYPES |= {"BOOL": (FLAGS, "bool_contents"), "FP16": (WORDS, "int_contents")}
SHAPES = {"many dims": [1] * MANY, "many large dims": [2**31 - 1] * MANY, "large dims": [2**62] * 4, "none": []}
SHAPES |= {"negative dims": [-1] * 4, "many zeros": [0] * MANY, "a zero and large dims": [0, 2**31 - 1, 2**31 - 1, 3]}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("datatype", TYPES)
def test_a_shape_that_the_tensor_cannot_have_is_refused_before_it_is_computed_with(
    datatype: str, shape: list[int]
) -> None:
    spec, field = TYPES[datatype]
    sized = {"parameters": {"binary_data_size": 0}}
    head = dumped({"inputs": [tensor(spec, datatype, shape, **sized)]})
    calls: list[Callable[[], object]] = [
        lambda: rest(dumped({"inputs": [tensor(spec, datatype, shape, data=[])]}), spec),
        lambda: rest(head, spec, json_length=b"%d" % len(head)),
        lambda: grpc(message(spec.name, datatype, shape, b""), spec),
        lambda: grpc(message(spec.name, datatype, shape, **{field: []}), spec),
    ]
    for call in calls:
        assert lines_run(call) < 1_000
        with pytest.raises(RequestError):
            call()


PICTURES: dict[str, Callable[[int], object]] = {
    "/predict": lambda n: plain(dumped({"image": [TEXT] * n}), IMAGE),
    "REST, flat": lambda n: rest(dumped({"inputs": [tensor(IMAGE, "BYTES", [n], data=[TEXT] * n)]}), IMAGE),
    "REST, nested": lambda n: rest(dumped({"inputs": [tensor(IMAGE, "BYTES", [n, 1], data=[[TEXT]] * n)]}), IMAGE),
    "gRPC, raw": lambda n: grpc(message("image", "BYTES", [n], ELEMENT * n), IMAGE),
    "gRPC, contents": lambda n: grpc(message("image", "BYTES", [n, 1], bytes_contents=[PICTURE] * n), IMAGE),
}


@pytest.mark.parametrize("send", PICTURES.values(), ids=PICTURES)
def test_pictures_are_counted_before_one_is_decoded(send: Callable[[int], object]) -> None:
    assert send(4)
    with pytest.raises(InputShapeError, match="5 examples; at most 4"):
        send(5)
    assert lines_run(lambda: send(MANY)) < 3 * MANY  # the request itself is made of as many parts
    assert bytes_taken(lambda: send(1_000)) < 4_000_000


@pytest.mark.parametrize("declared", [1, 4])
def test_elements_that_the_shape_does_not_have_are_not_split_off(declared: int) -> None:
    sent = message("image", "BYTES", [declared], ELEMENT * MANY)
    assert lines_run(lambda: grpc(sent, IMAGE)) < 1_000
    with pytest.raises(InputShapeError, match=f"more than {declared} elements"):
        grpc(sent, IMAGE)


def test_one_file_per_example_of_a_ragged_tensor_unless_it_declares_more() -> None:
    ragged = TensorSpec(name="image", dtype="uint8", shape=("photos", 4, 4, 3), content="image")
    assert plain(dumped({"image": [TEXT] * 4}), ragged)
    assert plain(dumped({"image": [TEXT] * 8}), ragged.model_copy(update={"max_rows": 2}))
    with pytest.raises(InputShapeError, match="5 examples; at most 4"):
        plain(dumped({"image": [TEXT] * 5}), ragged)


@pytest.mark.parametrize("name", ["shade", "none", "", "x" * 100])
def test_outputs_are_requested_once_each(name: str) -> None:
    good = tensor(NUMBERS, "FP32", [1, 4], data=[1, 2, 3, 4])
    body = dumped({"inputs": [good], "outputs": [{"name": name}] * 5_000})
    sent = message("numbers", "FP32", [1, 4], fp32_contents=[1, 2, 3, 4])
    sent.outputs.extend([pb.ModelInferRequest.InferRequestedOutputTensor(name=name)] * 5_000)
    calls: list[Callable[[], object]] = [lambda: rest(body, NUMBERS), lambda: grpc(sent, NUMBERS)]
    for call in calls:
        assert lines_run(call) < 1_000
        with pytest.raises(RequestError, match=r"requested twice|unknown output|has no name"):
            call()


def test_both_outputs_can_be_requested_in_any_order() -> None:
    sent = message("numbers", "FP32", [1, 4], fp32_contents=[1, 2, 3, 4])
    sent.outputs.extend([pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in ("size", "shade")])
    codec = OipGrpcCodec(model_of(NUMBERS), {}, budget())
    codec.read(sent)
    written = codec.write({"shade": np.ones((1, 2), np.float32), "size": np.ones((1, 1), np.float32)})
    answer = pb.ModelInferResponse.FromString(written)
    assert [output.name for output in answer.outputs] == ["size", "shade"]


@pytest.mark.parametrize("sent", [b"9" * 6000, b"-1", b"+1", b" 1", "٣".encode(), b"\xff", b"", b"0x10", b"1e3"])
def test_a_length_of_the_json_that_is_no_length_is_refused(sent: bytes) -> None:
    with pytest.raises(RequestError, match="it is the length of the JSON"):
        rest(b"{}", NUMBERS, json_length=sent)


VALUES = {
    "numbers": b"[" + b"1," * 60_000 + b"1]",
    "empty lists": b"[" + b"[]," * 20_000 + b"[]]",
    "nested empty lists": b"[" * 1_000 + b"[]," * 20_000 + b"[]" + b"]" * 1_000,
    "empty objects": b"[" + b"{}," * 20_000 + b"{}]",
    "keys": b"{" + b",".join(b'"%d":1' % number for number in range(20_000)) + b"}",
    "brackets alone": b"[" * 60_000,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_values_are_counted_before_they_are_parsed(value: bytes) -> None:
    assert count_values(value) > budget().json_values
    for name in (b"numbers", b"inputs", b"id", b"parameters", b"unknown"):
        body = b'{"' + name + b'": ' + value + b"}"
        for read in (plain, rest):
            assert bytes_taken(lambda read=read, body=body: read(body, NUMBERS)) < 2_000_000  # type: ignore[misc]
            with pytest.raises(BodyTooLargeError, match=r"send raw bytes \(binary_data_size, raw_input_contents\)"):
                read(body, NUMBERS)


@given(
    st.recursive(
        st.none() | st.integers(0, 9) | st.just("a"), lambda one: st.lists(one) | st.dictionaries(st.text("ab"), one)
    )
)
def test_the_count_of_values_is_an_upper_bound(value: object) -> None:
    def counted(one: object) -> int:
        if isinstance(one, Mapping):
            return 1 + sum(1 + counted(inner) for inner in one.values())
        return 1 + sum(map(counted, one)) if isinstance(one, list) else 1

    assert counted(value) <= count_values(dumped(value)) + 1


@pytest.mark.parametrize("datatype", ["UINT8", "FP32", "BOOL"])
def test_typed_contents_are_counted_too(datatype: str) -> None:
    spec, field = TYPES[datatype]
    sent = message(spec.name, datatype, [1, 4], **{field: [1] * 60_000})
    assert bytes_taken(lambda: grpc(sent, spec)) < 100_000
    with pytest.raises(BodyTooLargeError, match="50000 values"):
        grpc(sent, spec)
