"""``/feedback`` and ``/report`` in the OpenAPI document, where the server has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lading.record.feedback import is_label
from lading.settings import Settings
from lading.spec import TensorSpec

Schema = dict[str, Any]


def recording_paths(
    outputs: Sequence[TensorSpec], settings: Settings, headers: Mapping[str, Any], errors: Mapping[int, Schema]
) -> Schema:
    """The operations that the settings turn on.

    Args:
        outputs: the model's.
        settings: which are on.
        headers: of an answer.
        errors: the description of each error, by its code.
    """
    refused = {str(code): errors[code] for code in (400, 401, 404)}
    paths: Schema = {}
    if settings.feedback:
        paths["/feedback"] = {"post": _feedback(outputs, headers, refused)}
    if settings.drift:
        paths["/report"] = {"get": _report(headers, refused)}
    return paths


def _feedback(outputs: Sequence[TensorSpec], headers: Mapping[str, Any], refused: Schema) -> Schema:
    truth = {
        "type": "object",
        "description": "Of some outputs or all of them.",
        "properties": {spec.name: _truth(spec) for spec in outputs},
        "minProperties": 1,
        "additionalProperties": False,
    }
    identity = {"type": "string", "format": "request-id", "description": "The x-request-id of an answer."}
    body = {
        "type": "object",
        "properties": {"request_id": identity, "truth": truth},
        "required": ["request_id", "truth"],
        "additionalProperties": False,
    }
    told = {"type": "object", "properties": {spec.name: _told(spec) for spec in outputs}, "additionalProperties": False}
    return {
        "operationId": "feedback",
        "summary": "Tell the truth about an answer",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {
                "description": "What was predicted, and whether it was right or how far off.",
                "headers": headers,
                "content": {"application/json": {"schema": told}},
            },
            **refused,
        },
    }


def _truth(spec: TensorSpec) -> Schema:
    if is_label(spec):
        return {"type": "string", "enum": list(spec.labels or ())}
    number = {"type": "number"}
    fixed = [dim for dim in spec.example_shape if isinstance(dim, int)]
    size = 1
    for dim in fixed:
        size *= dim
    values: Schema = {"type": "array", "items": number}
    if spec.batched:
        values |= {"minItems": size, "maxItems": size}
    return {"anyOf": [number, values]} if size == 1 else values


def _told(spec: TensorSpec) -> Schema:
    names = ("predicted", "truth", "right" if is_label(spec) else "error")
    kind: Schema = {"type": "boolean"} if is_label(spec) else {"type": "number", "minimum": 0}
    return {"type": "object", "properties": {names[2]: kind}, "required": list(names)}


def _report(headers: Mapping[str, Any], refused: Schema) -> Schema:
    newest = {"type": "integer", "minimum": 1, "description": "About how many of the newest requests; default: all."}
    parameters = [
        {"name": "n", "in": "query", "schema": newest},
        {"name": "model", "in": "query", "schema": {"type": "string"}},
    ]
    page = {"description": "A page.", "headers": headers, "content": {"text/html": {"schema": {"type": "string"}}}}
    return {
        "operationId": "report",
        "summary": "The newest requests beside the data that the model was validated on",
        "parameters": parameters,
        "responses": {"200": page, **refused},
    }
