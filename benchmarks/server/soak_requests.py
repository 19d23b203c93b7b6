"""The requests of the soak test: pictures, or a model's golden inputs, in every form that the server takes."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import grpc
import httpx
import numpy as np
from PIL import Image

from lading.artifact import Artifact
from lading.protocol.client_codec import Request, binary_request, grpc_request
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.spec import Array

SIZES = ((64, 48), (224, 224), (640, 480), (1280, 960), (2400, 1800))
"""Pictures, in pixels."""
BATCHES = (1, 2, 3, 7, 16, 32)
"""Examples in one request."""


@dataclass(frozen=True)
class Ask:
    """One kind of request. ``send`` raises when the answer is an error."""

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
        request = Request("/classify", buffer.getvalue())
        yield Ask(f"classify {width}x{height}", partial(_post, client, request))


def _post(client: httpx.Client, request: Request) -> None:
    client.post(request.path, content=request.content, headers=dict(request.headers)).raise_for_status()


def _tensors(
    artifact: Artifact, arrays: dict[str, Array], client: httpx.Client, channel: grpc.Channel, name: str
) -> list[Ask]:
    model = artifact.manifest.name
    raw = binary_request(model, arrays)
    gzipped = Request(raw.path, gzip.compress(raw.content, 1), {**raw.headers, "content-encoding": "gzip"})
    message = grpc_request(model, arrays)
    stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]

    def streamed() -> None:
        for answer in stub.ModelStreamInfer(iter([message, message])):
            if answer.error_message:
                raise RuntimeError(answer.error_message)

    return [
        Ask(f"v2 {name}", lambda: _post(client, raw)),
        Ask(f"v2 gzip {name}", lambda: _post(client, gzipped)),
        Ask(f"grpc {name}", lambda: stub.ModelInfer(message, timeout=30)),
        Ask(f"grpc stream {name}", streamed),
    ]
