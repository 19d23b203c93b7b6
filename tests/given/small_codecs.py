"""A small model's codecs with a small budget, and requests to them."""

from __future__ import annotations

import base64
import json
from typing import Any

from lading.budget import Budget
from lading.content import content_type
from lading.protocol.oip_grpc import OipGrpcCodec
from lading.protocol.oip_rest import OipRestCodec
from lading.protocol.plain import Classifier, PlainModel, PredictCodec
from lading.protocol.proto import inference_pb2 as pb
from lading.spec import TensorSpec
from tests.given.pictures import encoded

MANY, MB = 20_000, 1_000_000
LINES = 20_000
"""Most lines of Python for a request; decoding ``MANY`` files takes a hundred times as many."""
PICTURE = encoded("PNG")
TEXT = base64.b64encode(PICTURE).decode()
IMAGE = TensorSpec(name="image", dtype="uint8", shape=("batch", 4, 4, 3), content="image")
NUMBERS = TensorSpec(name="numbers", dtype="float32", shape=("batch", 4))
FLAGS = TensorSpec(name="flags", dtype="bool", shape=("batch", 2))
WORDS = TensorSpec(name="words", dtype="float16", shape=("batch", 2))
OUTPUTS = (
    TensorSpec(name="shade", dtype="float32", shape=("batch", 2), labels=("dark", "bright")),
    TensorSpec(name="size", dtype="float32", shape=("batch", 1)),
)


def model_of(*inputs: TensorSpec) -> PlainModel:
    how = Classifier("m", "fp32", content_type("image"), IMAGE, (IMAGE,), OUTPUTS[:1], probabilistic=True)
    return PlainModel("m", "1", "fp32", "", inputs, OUTPUTS, 4, how, b"}")


def budget() -> Budget:
    return Budget(pixels=100_000, decode_bytes=10**7, json_values=50_000)


def rest(body: bytes, *inputs: TensorSpec, json_length: bytes | None = None) -> object:
    headers = {} if json_length is None else {b"inference-header-content-length": json_length}
    return OipRestCodec(model_of(*inputs), headers, budget()).read(body)


def plain(body: bytes, *inputs: TensorSpec) -> object:
    return PredictCodec(model_of(*inputs), {}, budget()).read(body)


def grpc(body: pb.ModelInferRequest, *inputs: TensorSpec) -> object:
    return OipGrpcCodec(model_of(*inputs), {}, budget()).read(body)


def tensor(spec: TensorSpec, datatype: str, shape: object, **fields: object) -> dict[str, object]:
    return {"name": spec.name, "datatype": datatype, "shape": shape, **fields}


def message(name: str, datatype: str, shape: list[int], *raw: bytes, **contents: list[Any]) -> pb.ModelInferRequest:
    sent = pb.ModelInferRequest.InferInputTensor(
        name=name, datatype=datatype, shape=shape, contents=pb.InferTensorContents(**contents)
    )
    return pb.ModelInferRequest(inputs=[sent], raw_input_contents=raw)


def dumped(content: object) -> bytes:
    return json.dumps(content).encode()
