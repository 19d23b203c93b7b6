"""What the soak sends: every form in which a picture, or any model's golden inputs, can be asked about."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import httpx
import numpy as np
from PIL import Image

from lading.artifact import Artifact
from lading.protocol.datatypes import TO_V2
from lading.protocol.proto import inference_pb2 as pb
from lading.spec import Array

SIZES = ((64, 48), (224, 224), (640, 480), (1280, 960), (2400, 1800))
"""Pictures, in pixels."""
BATCHES = (1, 2, 3, 7, 16, 32)
"""Examples in one request."""
LENGTH = "inference-header-content-length"


@dataclass(frozen=True)
class Ask:
    """One kind of request; ``send`` raises when it is not answered as it should be."""

    name: str
    send: Callable[[], object]


@contextmanager
def requests_for(artifact: Artifact, http: str, target: str) -> Iterator[list[Ask]]:
    """Every kind of request that fits the artifact's model, over connections that are kept until the block ends."""
    limits = httpx.Limits(max_connections=8)
    with httpx.Client(base_url=http, timeout=30, limits=limits) as client, grpc.insecure_channel(target) as channel:
        yield _requests(artifact, client, channel)


def _requests(artifact: Artifact, client: httpx.Client, channel: grpc.Channel) -> list[Ask]:
    golden = artifact.golden_inputs()
    one_picture = [spec.content for spec in artifact.manifest.inputs] == ["image"]
    asks = []
    if one_picture:
        asks += list(_pictures(client))
        (name, array), *_ = golden.items()
        for count in BATCHES:
            rows = {name: np.repeat(array[:1], count, axis=0)}
            asks += _tensors(artifact, rows, client, channel, f"{count} pixels")
    else:
        asks += _tensors(artifact, golden, client, channel, "golden")
    return asks


def _pictures(client: httpx.Client) -> Iterator[Ask]:
    rng = np.random.default_rng(0)
    for width, height in SIZES:
        coarse = Image.fromarray(rng.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((width, height), Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=85)
        photo = buffer.getvalue()
        yield Ask(f"classify {width}x{height}", lambda photo=photo: _post(client, "/classify", photo, {}))  # type: ignore[misc]


def _post(client: httpx.Client, path: str, body: bytes, headers: dict[str, str]) -> None:
    client.post(path, content=body, headers=headers).raise_for_status()


def _tensors(
    artifact: Artifact, arrays: dict[str, Array], client: httpx.Client, channel: grpc.Channel, name: str
) -> list[Ask]:
    path = f"/v2/models/{artifact.manifest.name}/infer"
    body, headers = _raw_body(artifact, arrays)
    packed, gzipped = gzip.compress(body, 1), {**headers, "content-encoding": "gzip"}
    message = _message(artifact, arrays).SerializeToString()
    alone = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")

    def streamed() -> None:
        for answer in stream(iter([message, message])):
            error = pb.ModelStreamInferResponse.FromString(answer).error_message
            if error:
                raise RuntimeError(error)

    return [
        Ask(f"v2 {name}", lambda: _post(client, path, body, headers)),
        Ask(f"v2 gzip {name}", lambda: _post(client, path, packed, gzipped)),
        Ask(f"grpc {name}", lambda: alone(message, timeout=30)),
        Ask(f"grpc stream {name}", streamed),
    ]


def _raw_body(artifact: Artifact, arrays: dict[str, Array]) -> tuple[bytes, dict[str, str]]:
    specs = {spec.name: spec for spec in artifact.manifest.inputs}
    inputs = [
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": TO_V2[specs[name].dtype],
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in arrays.items()
    ]
    head = json.dumps({"inputs": inputs}).encode()
    raw = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    return head + raw, {LENGTH: str(len(head)), "content-type": "application/octet-stream"}


def _message(artifact: Artifact, arrays: dict[str, Array]) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=artifact.manifest.name)
    for spec in artifact.manifest.inputs:
        array = np.ascontiguousarray(arrays[spec.name])
        request.inputs.add(name=spec.name, datatype=TO_V2[spec.dtype], shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request
