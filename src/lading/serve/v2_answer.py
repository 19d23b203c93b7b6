"""The answer of the Open Inference Protocol over REST: JSON, or JSON and raw tensors after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from lading.artifact import ModelInfo
from lading.serve.datatypes import TO_V2
from lading.serve.tensor_json import refuse_not_finite
from lading.serve.v2_request import JSON_LENGTH, V2Request
from lading.spec import Array

Headers = list[tuple[bytes, bytes]]
JSON_HEADERS: Headers = [(b"content-type", b"application/json")]


def encode(request: V2Request, outputs: Mapping[str, Array]) -> tuple[Headers, bytes]:
    """Headers and body of the answer.

    Raises:
        UnanswerableError: a value that JSON has no number for; as raw bytes it could be sent.
    """
    model = request.model
    content: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if request.id is not None:
        content["id"] = request.id
    content["parameters"] = {"variant": model.variant}
    tensors, raw = [], []
    for name, binary in request.outputs or tuple((spec.name, request.binary) for spec in model.outputs):
        array = np.ascontiguousarray(outputs[name])
        tensor: dict[str, Any] = {"name": name, "datatype": TO_V2[_dtype(model, name)], "shape": list(array.shape)}
        if binary:
            data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            tensor["parameters"] = {"binary_data_size": len(data)}
            raw.append(data)
        else:
            refuse_not_finite({name: array})
            # numpy's half floats are not numbers to orjson.
            tensor["data"] = (array.astype(np.float32) if array.dtype == np.float16 else array).ravel()
        tensors.append(tensor)
    content["outputs"] = tensors
    head = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    if not raw:
        return JSON_HEADERS, head
    headers = [(b"content-type", b"application/octet-stream"), (JSON_LENGTH, str(len(head)).encode())]
    return headers, b"".join([head, *raw])


def _dtype(model: ModelInfo, name: str) -> str:
    return next(spec.dtype for spec in model.outputs if spec.name == name)
