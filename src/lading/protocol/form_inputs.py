"""The inputs of a model as the fields of a form: files and numbers in one request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from lading.artifact.manifest import ModelInfo
from lading.budget import Budget
from lading.content import content_of
from lading.errors import InputNameError, InputTypeError
from lading.errors.sentences import shown, unknown
from lading.protocol.form import Field, fields_of_form
from lading.protocol.json_advice import first_shape
from lading.protocol.json_body import count_values
from lading.protocol.json_values import read_inputs
from lading.protocol.photo_places import Views
from lading.spec import Array, TensorSpec

_LONGEST_SHOWN = 100  # bytes of a text that is no JSON


def read_form(
    model: ModelInfo, content_type: str, body: bytes, budget: Budget, views: Views | None = None
) -> dict[str, Array]:
    """Turn a form into the model's inputs, batch dim included.

    A field has the name of an input, and is one example: a file, its base64, or JSON without the batch dim. A field
    that comes again is the next example. JSON with the batch dim is several examples. ``views`` gets what of each file
    the inputs show.

    Raises:
        RequestError: no form, a field that is no input, or see :func:`lading.protocol.json_values.read_inputs`.
    """
    content: dict[str, Any] = {}
    for field in fields_of_form(content_type, body):
        spec = _input_of(model.inputs, field)
        if not field.data and field.is_file:
            raise InputTypeError(f"input {spec.name!r} is an empty file: choose one that is not")
        if content_of(spec) is not None:
            row: bytes | str = field.data if field.is_file else field.data.decode("utf-8", "replace")
            content.setdefault(spec.name, []).append(row)
            continue
        value = _number(spec, field, budget)
        if not spec.batched:
            if spec.name in content:
                raise InputNameError(f"input {spec.name!r} is sent twice: send it once")
            content[spec.name] = value
            continue
        rows = content.setdefault(spec.name, [])
        missing = len(spec.shape) - 1 - len(first_shape(value))
        if missing < 0:
            rows.extend(value)
        elif missing == 1 and spec.shape[-1] == 1:
            rows.append([value])
        else:
            rows.append(value)
    return read_inputs(model.inputs, content, max_batch=model.max_batch, budget=budget, views=views)


def form_hint(inputs: Sequence[TensorSpec]) -> str:
    """How to send these inputs with curl, as options."""
    words = []
    for spec in inputs:
        content = content_of(spec)
        if not spec.optional:
            words.append(f"-F {spec.name}=@{content.sample}" if content else f"-F {spec.name}=JSON")
    return " ".join(words)


def _input_of(inputs: Sequence[TensorSpec], field: Field) -> TensorSpec:
    for spec in inputs:
        if field.name in (spec.name, spec.alias):
            return spec
    names = [spec.name for spec in inputs if not spec.optional]
    raise InputNameError(f"{unknown('input', field.name, names)} (curl {form_hint(inputs)})")


def _number(spec: TensorSpec, field: Field, budget: Budget) -> Any:
    if len(field.data) > budget.json_values:
        budget.spend_values(count_values(field.data))
    try:
        return orjson.loads(field.data)
    except orjson.JSONDecodeError:
        text = shown(field.data[:_LONGEST_SHOWN].decode("utf-8", "replace"))
        raise InputTypeError(
            f"input {spec.name!r} is the text {text}, which is no JSON: send a number or a list, such as [1, 2]"
        ) from None
