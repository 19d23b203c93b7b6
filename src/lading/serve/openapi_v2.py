"""The Open Inference Protocol's part of ``/docs.json``."""

from __future__ import annotations

from typing import Any

from lading.serve.datatypes import BYTES, TO_V2, v2_shape
from lading.spec import TensorSpec

Schema = dict[str, Any]


def infer_operation(inputs: tuple[TensorSpec, ...], responses: Schema) -> Schema:
    """``POST /v2/models/NAME/infer``."""
    return {
        "operationId": "infer",
        "summary": "Run the model, as the Open Inference Protocol has it",
        "description": "JSON, or JSON and raw tensors after it (`Inference-Header-Content-Length`: the JSON's length). "
        "Inputs: " + "; ".join(_described(spec) for spec in inputs) + ".",
        "requestBody": {"required": True, "content": {"application/json": {"schema": _request(inputs)}}},
        "responses": responses,
    }


def answer_schema() -> Schema:
    """What comes back."""
    tensor = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "parameters": {"type": "object"},
            "data": {"type": "array"},
        },
        "required": ["name", "datatype", "shape"],
    }
    return {
        "type": "object",
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "outputs": {"type": "array", "items": tensor},
        },
        "required": ["model_name", "outputs"],
    }


def _request(inputs: tuple[TensorSpec, ...]) -> Schema:
    datatypes = sorted({TO_V2[spec.dtype] for spec in inputs} | {BYTES for spec in inputs if spec.content})
    tensor = {
        "type": "object",
        "properties": {
            "name": {"enum": [spec.name for spec in inputs]},
            "datatype": {"enum": datatypes},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "data": {"type": "array", "description": "flat, in row-major order, or nested as the shape is"},
        },
        "required": ["name", "datatype", "shape", "data"],
    }
    return {
        "type": "object",
        "properties": {"id": {"type": "string"}, "inputs": {"type": "array", "items": tensor, "minItems": 1}},
        "required": ["inputs"],
    }


def _described(spec: TensorSpec) -> str:
    also = f", or {BYTES} [n]: an encoded picture each" if spec.content == "image" else ""
    return f"`{spec.name}`, {TO_V2[spec.dtype]} {v2_shape(spec)}{also}"
