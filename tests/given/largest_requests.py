"""The largest requests that a server accepts: numbers, pictures and forms at the limits of the settings."""

from __future__ import annotations

import functools
import json

import numpy as np
from PIL import Image

from lading.budget import MAX_JSON_VALUES
from lading.protocol.proto import inference_pb2 as pb
from tests.given.costly import ANSWERED, Costly, binary_infer, infer, post, rows, streamed
from tests.given.costly_bodies import Tensor, elements, form, inputs, message, oip, pictures, tensor, v2
from tests.given.pictures import encoded

ROWS = 10**6
"""The ``LADING_MAX_BATCH`` that these requests need."""
_JSON_ROWS = (MAX_JSON_VALUES - 100) // 6  # a row is a list with four numbers, counted by its commas and brackets
_FLAT_ROWS = (MAX_JSON_VALUES - 100) // 4
_RAW_ROWS = 930_000  # 15 MB
JSON = "application/json"


@functools.cache
def _numbers() -> bytes:
    """A list of numbers with all the digits that a float32 has."""
    numbers = np.random.default_rng(0).normal(size=_FLAT_ROWS * 4).clip(-9, 9).astype(np.float32)
    return json.dumps(numbers.tolist()).encode()


@functools.cache
def _rows_of_numbers(*, long: bool) -> bytes:
    one = b"[-1.2345678806304932,2.3456788063049316,-3.456789016723633,4.567890167236328]" if long else b"[1,2,3,4]"
    return b"[" + b",".join([one] * _JSON_ROWS) + b"]"


def _v2(count: int, data: bytes) -> bytes:
    return oip(tensor("FP32", [count, 4], data=[])).replace(b"[]", data)


def _typed() -> bytes:
    rows = _FLAT_ROWS
    one = Tensor(name="features", datatype="FP32", shape=[rows, 4])
    one.contents.fp32_contents.extend([1.5] * rows * 4)
    return bytes(pb.ModelInferRequest(model_name="small-table", inputs=[one]).SerializeToString())


def _raw() -> bytes:
    return bytes(16 * _RAW_ROWS)


@functools.cache
def _noise(megapixels: float, quality: int) -> bytes:
    """A JPEG whose every pixel differs."""
    side = int((megapixels * 1e6) ** 0.5)
    noise = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    return encoded("JPEG", Image.fromarray(noise), quality=quality)


@functools.cache
def _plain(megapixels: float, kind: str) -> bytes:
    side = int((megapixels * 1e6) ** 0.5)
    return encoded(kind, Image.new("RGB", (side, side), (230, 20, 20)))


def _raw_head(**parameters: object) -> bytes:
    return oip(tensor("FP32", [_RAW_ROWS, 4], parameters={"binary_data_size": 16 * _RAW_ROWS}), **parameters)


LARGEST: tuple[Costly, ...] = (
    *rows(
        "largest accepted",
        "table",
        {
            "rows of short numbers": post("/predict", lambda: inputs(_rows_of_numbers(long=False)), content_type=JSON),
            "rows of long numbers": post("/predict", lambda: inputs(_rows_of_numbers(long=True)), content_type=JSON),
            "rows as data": post(v2("table"), lambda: _v2(_JSON_ROWS, _rows_of_numbers(long=True))),
            "numbers as data": post(v2("table"), lambda: _v2(_FLAT_ROWS, _numbers())),
            "raw numbers": binary_infer(v2("table"), _raw_head, _raw),
            "raw numbers, raw outputs": binary_infer(
                v2("table"), lambda: _raw_head(parameters={"binary_data_output": True}), _raw
            ),
            "numbers, gRPC": infer(_typed),
            "numbers, gRPC stream": streamed(_typed),
            "raw numbers, gRPC": infer(lambda: message(shape=[_RAW_ROWS, 4], contents=_raw())),
            "raw numbers, gRPC stream": streamed(lambda: message(shape=[_RAW_ROWS, 4], contents=_raw())),
        },
        ANSWERED,
    ),
    *rows(
        "largest accepted",
        "colour",
        {
            "JPEG of 48 million pixels": post("/classify", lambda: _plain(48, "JPEG")),
            "JPEG of 15 MB": post("/classify", lambda: _noise(14, 85)),
            "PNG of 12 million pixels": post("/classify", lambda: _plain(12, "PNG")),
            "WebP of 12 million pixels": post("/classify", lambda: _plain(12, "WEBP")),
            "form of 15 MB": post(
                "/classify", lambda: form(_noise(14, 85)), content_type="multipart/form-data; boundary=x"
            ),
            "100 pictures": binary_infer(
                v2("colour"),
                lambda: oip(
                    tensor("BYTES", [100], "image", parameters={"binary_data_size": 100 * (4 + len(_noise(0.15, 85)))})
                ),
                lambda: elements(*[_noise(0.15, 85)] * 100),
            ),
            "100 pictures, gRPC": infer(lambda: pictures(*[_noise(0.15, 85)] * 100)),
        },
        ANSWERED,
    ),
)
"""Each is answered."""
