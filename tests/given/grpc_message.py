"""The Open Inference Protocol over gRPC: every call, deadlines, cancelling, health, reflection."""

from __future__ import annotations

from typing import Any

from lading.protocol.proto import inference_pb2 as pb


def typed(values: list[float], shape: tuple[int, ...] = (1, 4), **fields: Any) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="features", datatype="FP32", shape=shape)
    tensor.contents.fp32_contents.extend(values)
    return pb.ModelInferRequest(**{"model_name": "small-table", "inputs": [tensor], **fields})
