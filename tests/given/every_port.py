"""One request over every port, and its answers as arrays."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
import numpy as np

from lading.protocol.client_codec import (
    binary_request,
    grpc_request,
    json_request,
    predict_request,
    read_grpc,
    read_infer,
    read_predict,
)
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.spec import Array
from lading.tensors.agreement import max_abs_difference
from tests.given.live_server import LiveServer

LENGTH = "inference-header-content-length"


def answers(live: LiveServer, inputs: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Outputs by the way of asking: plain JSON, the protocol's JSON and raw tensors, and gRPC."""
    model, found = live.artifact.manifest.name, {}
    for way, request in (
        ("plain", predict_request(inputs)),
        ("json", json_request(model, inputs)),
        ("binary", binary_request(model, inputs)),
    ):
        answer = live.client.post(request.path, content=request.content, headers=dict(request.headers))
        assert answer.status_code == 200, answer.text
        length = answer.headers.get(LENGTH)
        found[way] = read_predict(answer.content) if way == "plain" else read_infer(answer.content, length)
    with grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        found["grpc"] = read_grpc(stub.ModelInfer(grpc_request(model, inputs)))
    return found


def assert_every_port_answers(
    live: LiveServer, inputs: Mapping[str, Array], wanted: Mapping[str, Array], atol: float = 1e-5
) -> None:
    """Numbers within ``atol``, strings equal; ``wanted`` may name some of the outputs."""
    for way, outputs in answers(live, inputs).items():
        for name, array in wanted.items():
            got = np.asarray(outputs[name])
            assert max_abs_difference(got, np.asarray(array)) <= atol, f"{way}: {name} is {got}, not {array}"
