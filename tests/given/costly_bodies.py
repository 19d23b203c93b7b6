"""Bodies of costly requests: long lists, deep lists, long texts, many parts."""

from __future__ import annotations

import functools
import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from PIL import Image

from lading.protocol.proto import inference_pb2 as pb
from tests.given.http_exchange import request
from tests.given.pictures import encoded

MODELS = {"table": "small-table", "colour": "small-colour"}
Tensor = pb.ModelInferRequest.InferInputTensor
Output = pb.ModelInferRequest.InferRequestedOutputTensor


@functools.cache
def dot() -> bytes:
    """A PNG of one pixel, of about 70 bytes."""
    return encoded("PNG", Image.new("L", (1, 1)))


def v2(model: str) -> str:
    return f"/v2/models/{MODELS[model]}/infer"


def tensor(datatype: str, shape: Sequence[int], name: str = "features", **fields: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), **fields}


def row() -> dict[str, Any]:
    """A tensor that the table model takes."""
    return tensor("FP32", [1, 4], data=[1, 2, 3, 4])


def oip(*tensors: dict[str, Any], **fields: Any) -> bytes:
    """An Open Inference Protocol request as JSON."""
    return json.dumps({"inputs": list(tensors), **fields}).encode()


def oip_data(data: bytes) -> bytes:
    """The same for the table model, with its data as written."""
    return b'{"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4], "data": ' + data + b"}]}"


def inputs(value: bytes, name: str = "features") -> bytes:
    """A body of ``/predict`` with one input as written."""
    return b'{"' + name.encode() + b'": ' + value + b"}"


def repeated(part: bytes, count: int) -> bytes:
    """A JSON list of equal elements."""
    return b"[" + (part + b",") * (count - 1) + part + b"]"


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def elements(*files: bytes) -> bytes:
    """A BYTES tensor's elements, each after its length."""
    return b"".join(struct.pack("<I", len(file)) + file for file in files)


def form(*files: bytes, filename: bytes = b"a") -> bytes:
    part = b'--x\r\ncontent-disposition: form-data; name="file"; filename="%b"\r\n\r\n%b\r\n'
    return b"".join(part % (filename, file) for file in files) + b"--x--\r\n"


def chunked(path: str, count: int, size: int, method: str = "POST") -> bytes:
    """A body in chunks, each of ``size`` zeros."""
    one = b"%x\r\n%b\r\n" % (size, bytes(size))
    return request(method, path, None, transfer_encoding="chunked") + one * count + b"0\r\n\r\n"


def headers(count: int, size: int) -> bytes:
    """A request with many headers, each with a value of ``size`` bytes."""
    start = request("GET", "/model", None)[:-2]
    return start + b"".join(b"h%d: %b\r\n" % (number, size * b"a") for number in range(count)) + b"\r\n"


def blanks(megabytes: int) -> bytes:
    """Gzip of as many megabytes of blanks."""
    deflate, part = zlib.compressobj(wbits=31), b" " * 1_000_000
    return b"".join(deflate.compress(part) for _ in range(megabytes)) + deflate.flush()


def message(
    datatype: str = "FP32",
    shape: Sequence[int] = (1, 4),
    contents: bytes = bytes(16),
    *,
    model: str = "table",
    name: str = "features",
    **fields: Any,
) -> bytes:
    """A gRPC request with one raw tensor, for the table model by default."""
    one = Tensor(name=name, datatype=datatype, shape=shape)
    given = {"model_name": MODELS[model], "inputs": [one], "raw_input_contents": [contents], **fields}
    return bytes(pb.ModelInferRequest(**given).SerializeToString())


def pictures(*files: bytes, shape: Sequence[int] | None = None) -> bytes:
    """A gRPC request with encoded pictures, for the colour model."""
    return message("BYTES", shape or [len(files)], elements(*files), model="colour", name="image")


def outputs(count: int, name: str) -> bytes:
    return message(outputs=count * [Output(name=name)])


def many_inputs(count: int) -> bytes:
    return message(inputs=count * [Tensor(name="features", datatype="FP32", shape=[1, 4])])


def many_contents(count: int) -> bytes:
    return message(raw_input_contents=count * [b""])


def many_parameters(count: int) -> bytes:
    return message(parameters={f"p{number}": pb.InferParameter(int64_param=1) for number in range(count)})


def many_numbers(count: int) -> bytes:
    one = Tensor(name="features", datatype="FP32", shape=[1, 4])
    one.contents.fp32_contents.extend(count * [1.0])
    return message(inputs=[one], raw_input_contents=[])
