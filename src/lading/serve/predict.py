"""``POST /predict``: any model's inputs by name as JSON, its outputs by name back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import orjson

from lading.serve.tensor_json import parse_object, read_inputs, refuse_not_finite
from lading.settings import Settings
from lading.spec import Array, TensorSpec

if TYPE_CHECKING:
    from lading.serve.served_model import ServedModel


def decode_json(model: ServedModel, settings: Settings, body: bytes) -> dict[str, Array]:
    """Turn a request's body into the model's inputs, batch dim included.

    Raises:
        RequestError: see :func:`lading.serve.tensor_json.read_inputs`.
    """
    content = parse_object(body)
    return read_inputs(model.inputs, content, max_batch=settings.max_batch, max_pixels=settings.max_pixels)


def encode_json(model: ServedModel, outputs: Mapping[str, Array]) -> bytes:
    """The answer's body: nested lists by output name, and the units of those that have one.

    Raises:
        UnanswerableError: a value is not finite.
    """
    lists = {name: np.ascontiguousarray(array) for name, array in outputs.items()}
    written = orjson.dumps(lists, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" in written:  # what is not finite is written so; looking at each array first costs more than writing
        refuse_not_finite(outputs)
    return b'{"outputs":' + written + model.answer_end


def answer_end(outputs: Sequence[TensorSpec], model: str, variant: str) -> bytes:
    """What every answer of a model ends with: units, the model, the variant."""
    units = {spec.name: spec.unit for spec in outputs if spec.unit}
    rest = ({"units": units} if units else {}) | {"model": model, "variant": variant}
    return b"," + orjson.dumps(rest)[1:]
