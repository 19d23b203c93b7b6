"""``POST /predict``: any model's inputs by name as JSON, its outputs by name back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import orjson

from lading.artifact import ModelInfo
from lading.serve.tensor_json import parse_object, read_inputs, refuse_not_finite
from lading.spec import Array, TensorSpec


def decode_json(model: ModelInfo, body: bytes, max_pixels: int) -> dict[str, Array]:
    """Turn a request's body into the model's inputs, batch dim included.

    Raises:
        RequestError: see :func:`lading.serve.tensor_json.read_inputs`.
    """
    content = parse_object(body)
    return read_inputs(model.inputs, content, max_batch=model.max_batch, max_pixels=max_pixels)


def encode_json(outputs: Mapping[str, Array], end: bytes) -> bytes:
    """The answer's body: nested lists by output name, then the model's :func:`answer_end`.

    Raises:
        UnanswerableError: a value is not finite.
    """
    lists = {name: np.ascontiguousarray(array) for name, array in outputs.items()}
    written = orjson.dumps(lists, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" in written:  # what is not finite is written so; looking at each array first costs more than writing
        refuse_not_finite(outputs)
    return b'{"outputs":' + written + end


def answer_end(outputs: Sequence[TensorSpec], model: str, variant: str) -> bytes:
    """What every answer of a model ends with: units, the model, the variant."""
    units = {spec.name: spec.unit for spec in outputs if spec.unit}
    rest = ({"units": units} if units else {}) | {"model": model, "variant": variant}
    return b"," + orjson.dumps(rest)[1:]
