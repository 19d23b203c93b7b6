"""``POST /predict``: any model's inputs by name as JSON, its outputs by name back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import orjson

from lading.serve.served_model import ServedModel
from lading.serve.tensor_json import parse_object, read_inputs, refuse_not_finite
from lading.settings import Settings
from lading.spec import Array


def decode_json(model: ServedModel, settings: Settings, body: bytes) -> dict[str, Array]:
    """Turn a request's body into the model's inputs, batch dim included.

    Raises:
        RequestError: see :func:`lading.serve.tensor_json.read_inputs`.
    """
    content = parse_object(body)
    return read_inputs(model.inputs, content, max_batch=settings.max_batch, max_pixels=settings.max_pixels)


def encode_json(model: str, variant: str, outputs: Mapping[str, Array]) -> bytes:
    """The answer's body: nested lists by output name.

    Raises:
        UnanswerableError: a value is not finite.
    """
    refuse_not_finite(outputs)
    lists = {name: np.ascontiguousarray(array) for name, array in outputs.items()}
    answer = {"outputs": lists, "model": model, "variant": variant}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
