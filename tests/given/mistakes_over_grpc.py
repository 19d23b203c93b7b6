"""What people send by mistake over gRPC, and the words that the answer must hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from lading.protocol.proto import inference_pb2 as pb
from tests.given.mistakes import JPEG, ROW
from tests.given.pictures import encoded

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
BYTES_16 = np.array(ROW, np.float32).tobytes()


@dataclass(frozen=True)
class GrpcMistake:
    """One message, and what the status of its call must hold."""

    title: str
    message: pb.ModelInferRequest
    words: tuple[str, ...]
    code: grpc.StatusCode = INVALID
    metadata: tuple[tuple[str, str], ...] = ()


def infer(
    title: str,
    *words: str,
    model: str = "small-table",
    name: str = "features",
    datatype: str = "FP32",
    shape: Sequence[int] = (1, 4),
    raw: Sequence[bytes] = (),
    code: grpc.StatusCode = INVALID,
    version: str = "",
    outputs: Sequence[str] = (),
    times: int = 1,
    metadata: tuple[tuple[str, str], ...] = (),
    **contents: Sequence[Any],
) -> GrpcMistake:
    """A message of one tensor."""
    message = pb.ModelInferRequest(model_name=model, model_version=version, raw_input_contents=list(raw))
    for _ in range(times):
        tensor = message.inputs.add(name=name, datatype=datatype, shape=list(shape))
        for field, values in contents.items():
            getattr(tensor.contents, field).extend(values)
    for output in outputs:
        message.outputs.add(name=output)
    return GrpcMistake(title, message, words, code, metadata)


def picture(title: str, *words: str, raw: Sequence[bytes] = (), **changes: Any) -> GrpcMistake:
    """A message of one picture."""
    given: dict[str, Any] = {"model": "small-colour", "name": "image", "datatype": "BYTES", "shape": (1,)} | changes
    return infer(title, *words, raw=raw, **given)


OVER_GRPC = (
    infer("no batch dim", "'features'", "[4]", "[-1, 4]", "batch dim is missing; send [1, 4]", shape=(4,),
          fp32_contents=ROW),
    picture("channels first", "'image'", "[1, 3, 16, 16]", "[batch, 16, 16, 3]", "transpose it by [0, 2, 3, 1]",
            datatype="UINT8", shape=(1, 3, 16, 16), raw=[bytes(768)]),
    infer("numpy's name of a datatype", "'features'", "'float32'", "the model takes FP32", datatype="float32",
          raw=[BYTES_16]),
    infer("double precision", "'features'", "'FP64'", "the model takes FP32", datatype="FP64", fp64_contents=ROW),
    infer("no datatype", "'features'", "has datatype ''", "the model takes FP32", datatype="", fp32_contents=ROW),
    infer("no shape", "'features'", "[]", "[-1, 4]", shape=(), fp32_contents=ROW),
    infer("a size for any size", "'features'", "[-1, 4]", "sizes run from 0", shape=(-1, 4), fp32_contents=ROW),
    infer("neither raw bytes nor contents", "'features'", "no values", "raw_input_contents", "fp32_contents"),
    infer("values in another field", "'features'", "FP32", "int_contents", "fp32_contents", int_contents=[1, 2, 3, 4]),
    infer("fewer values than the shape", "'features'", "3 values", "[1, 4]", "send 4 values", fp32_contents=ROW[:3]),
    infer("fewer raw bytes than the shape", "'features'", "12 bytes", "FP32 of shape [1, 4]", "16",
          raw=[BYTES_16[:12]]),
    infer("one buffer for two inputs", "2 inputs", "1 raw_input_contents", "one each", raw=[BYTES_16], times=2),
    infer("an input twice", "'features'", "sent twice", "send it once", fp32_contents=ROW, times=2),
    infer("a misspelled input", "unknown input 'feature'", "mean 'features'", name="feature", fp32_contents=ROW),
    infer("no name", "an input has no name", "the inputs are: features", name="", fp32_contents=ROW),
    infer("no input", "'features' is missing", "the inputs are: features", times=0),
    infer("a misspelled output", "unknown output 'totl'", "mean 'total'", outputs=["totl"], fp32_contents=ROW),
    infer("a misspelled model", "'small-tabel'", "mean 'small-table'", "the models are", model="small-tabel",
          code=NOT_FOUND, fp32_contents=ROW),
    infer("a version that is not there", "'small-table'", "no version '7'", "it has: 1", version="7", code=NOT_FOUND,
          fp32_contents=ROW),
    infer("out of range", "'features'", "99", "the largest allowed is 10", fp32_contents=[1, 2, 3, 99]),
    infer("NaN", "'features'", "not finite", "send finite numbers", fp32_contents=[1, 2, 3, float("nan")]),
    infer("too many examples", "5000 examples", "at most 4", "send several requests", shape=(5000, 4),
          raw=[bytes(80_000)]),
    picture("a picture without its length", "'image'", "which should have", "its length, as four bytes", raw=[JPEG]),
    picture("two pictures for one", "'image'", "2 values", "[1, 1]", bytes_contents=[JPEG, JPEG]),
    picture("a GIF", "'image', picture 0", "a GIF file", "send a JPEG, PNG or WebP file",
            bytes_contents=[encoded("GIF")]),
    picture("base64 over gRPC", "'image', picture 0", "base64 of a JPEG file", "send a JPEG, PNG or WebP file",
            bytes_contents=[b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgG"]),
    infer("a deadline with a unit", "x-request-timeout-ms", "'5s'", "milliseconds", fp32_contents=ROW,
          metadata=(("x-request-timeout-ms", "5s"),)),
)  # fmt: skip
