"""``GET /docs.json``: OpenAPI 3.1, made from the artifact, so that it cannot say what the server does not do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import lading
from lading.artifact import Artifact
from lading.content import content_of
from lading.manifest import PackedVariant
from lading.protocol.datatypes import BYTES, TO_V2, v2_shape
from lading.protocol.describe import example_body
from lading.protocol.plain import LONGEST, Classifier, TextForm
from lading.serve.http.openapi_recording import recording_paths
from lading.settings import Settings
from lading.spec import TensorSpec

Schema = dict[str, Any]

_ERRORS = {
    400: "The request cannot be read; `error` says what is wrong and where.",
    413: "The body or a picture is above a limit.",
    415: "The content type is not one that this endpoint reads.",
    422: "The model has no finite answer to these inputs.",
    401: "No key, or one that is not known.",
    404: "No model, version or variant of that name is served.",
    429: "More is waiting than can be answered in time; `Retry-After` says when to ask again.",
    500: "Something went wrong in the server.",
    503: "The model is not ready; `error` says why.",
    504: "The deadline passed (`x-request-timeout-ms`, in milliseconds).",
}
_INFERENCE_ERRORS = (400, 401, 404, 413, 415, 422, 429, 500, 503, 504)


def openapi(
    artifact: Artifact,
    packed: PackedVariant,
    classifier: Classifier | str,
    settings: Settings,
    texts: Sequence[TextForm] = (),
) -> Schema:
    """Describe every endpoint of the app that serves this artifact."""
    manifest = artifact.manifest
    paths: Schema = {"/predict": {"post": _predict(artifact, settings)}}
    for form in texts:
        paths[f"/predict/{form.name}"] = {"post": _text_form(form)}
    if isinstance(classifier, Classifier):
        paths["/classify"] = {"post": _classify(classifier)}
    answered = {"200": _json("The outputs.", "InferResponse"), **_errors(*_INFERENCE_ERRORS)}
    paths[f"/v2/models/{manifest.name}/infer"] = {"post": infer_operation(manifest.inputs, answered)}
    paths |= _operations(manifest.name)
    errors = {code: _json(text, "Error") for code, text in _ERRORS.items()}
    paths |= recording_paths(manifest.outputs, settings, _request_id_header(), errors)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": manifest.name,
            "version": manifest.version,
            "description": f"{manifest.description or manifest.name}; variant {packed.variant.name} "
            f"({packed.precision}), served by Lading {lading.__version__}.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Error": _error_schema(),
                "Inputs": _inputs(artifact, settings),
                "Outputs": _outputs(artifact),
                "InferResponse": answer_schema(),
            },
            "headers": {"RequestId": {"schema": {"type": "string"}, "description": "The request's id, sent or made."}},
        },
    }


def _predict(artifact: Artifact, settings: Settings) -> Schema:
    body: Schema = {"schema": {"$ref": "#/components/schemas/Inputs"}}
    example = example_body(artifact)
    if example is not None:
        body["example"] = example
    return {
        "operationId": "predict",
        "summary": "Run the model on tensors",
        "description": "Each input by name, as nested lists with the batch dim, so one example is a list of one. "
        f"{_encoded(artifact.manifest.inputs)}Outputs come back likewise. Lists at the same depth have the same "
        f"length, and dims of the same name the same size. At most {settings.max_batch} examples and "
        f"{settings.max_body_bytes} bytes.",
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {"200": _json("The outputs by name.", "Outputs"), **_errors(*_INFERENCE_ERRORS)},
    }


def _encoded(inputs: Sequence[TensorSpec]) -> str:
    contents = {spec.name: content for spec in inputs if (content := content_of(spec)) is not None}
    return "".join(
        f"`{name}` may be a base64 string of a {content.formats} file instead, or a list of them. "
        for name, content in contents.items()
    )


def _text_form(form: TextForm) -> Schema:
    body = {"schema": {"type": "string", "minLength": 1, "maxLength": LONGEST}, "example": form.example}
    answer: Schema = {"type": "object", "required": ["inputs", "outputs", "model", "variant"]}
    return {
        "operationId": f"predict_{form.name}",
        "summary": f"Run the model on a text: {form.label}",
        "requestBody": {"required": True, "content": {"text/plain": body}},
        "responses": {
            "200": {
                "description": "The inputs that the text stands for, and the outputs.",
                "headers": _request_id_header(),
                "content": {"application/json": {"schema": answer}},
            },
            **_errors(*_INFERENCE_ERRORS),
        },
    }


def _classify(classifier: Classifier) -> Schema:
    binary: Schema = {"schema": {"type": "string", "format": "binary"}}
    file: Schema = {
        "type": "object",
        "description": "One file and nothing else; its field may have another name.",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
        "additionalProperties": False,
    }
    content = classifier.content
    raw = dict.fromkeys(content.media_types, binary)
    description = f"The {content.noun} is the body itself, or the one file of a form. {content.note}".rstrip()
    return {
        "operationId": "classify",
        "summary": f"Classify one {content.noun}",
        "description": description,
        "requestBody": {"required": True, "content": raw | {"multipart/form-data": {"schema": file}}},
        "responses": {
            "200": {
                "description": "The label of each output, and the probability of every label.",
                "headers": _request_id_header(),
                "content": {"application/json": {"schema": _answer(classifier)}},
            },
            **_errors(*_INFERENCE_ERRORS),
        },
    }


def _answer(classifier: Classifier) -> Schema:
    number: Schema = {"type": "number", "minimum": 0, "maximum": 1} if classifier.probabilistic else {"type": "number"}
    labels = {spec.name: list(spec.labels or ()) for spec in classifier.outputs}
    values = {name: _closed(dict.fromkeys(names, number)) for name, names in labels.items()}
    properties: Schema = {name: {"type": "string", "enum": names} for name, names in labels.items()}
    if classifier.probabilistic:
        properties["confidence"] = number | {"description": "How likely all labels are right: their product."}
        properties["probabilities"] = _closed(values)
    else:
        properties["scores"] = _closed(values)
    return _closed(properties | {"model": {"const": classifier.model}, "variant": {"const": classifier.variant}})


def _operations(model: str) -> Schema:
    text = {"200": _text("OK."), **_errors(503)}
    ready = {"200": _text("The golden outputs matched, and requests are taken."), **_errors(503)}
    return {
        "/model": {
            "get": _get("model", "What is served", {"200": _object("Name, version, variant, digest, tensors.")})
        },
        "/livez": {"get": _get("livez", "Is the process alive?", text)},
        "/readyz": {"get": _get("readyz", "Does it take requests?", ready)},
        "/metrics": {"get": _get("metrics", "Prometheus metrics", {"200": _text("Text format.")})},
        "/v2": {"get": _get("server", "Name, version and extensions", {"200": _object("Metadata.")})},
        "/v2/health/live": {"get": _get("live", "Is the process alive?", {"200": _object("OK."), **_errors(503)})},
        "/v2/health/ready": {"get": _get("ready", "Does it take requests?", {"200": _object("OK."), **_errors(503)})},
        f"/v2/models/{model}": {"get": _get("metadata", "The model's tensors", {"200": _object("Metadata.")})},
        f"/v2/models/{model}/ready": {
            "get": _get("modelReady", "Does the model answer?", {"200": _object("OK."), **_errors(503)})
        },
        "/docs.json": {"get": _get("docs", "This document", {"200": _object("OpenAPI 3.1.")})},
    }


def _get(name: str, summary: str, responses: Schema) -> Schema:
    return {"operationId": name, "summary": summary, "responses": responses}


def _inputs(artifact: Artifact, settings: Settings) -> Schema:
    specs = artifact.manifest.inputs
    properties = {spec.name: _input(spec, settings) for spec in specs}
    return _closed(properties) | {"required": [spec.name for spec in specs if not spec.owner_of]}


def _input(spec: TensorSpec, settings: Settings) -> Schema:
    nested = _nested(spec, settings.max_batch, bounds=True)
    notes = [spec.description, f"{spec.dtype} {list(spec.shape)}", f"in {spec.unit}" if spec.unit else ""]
    if spec.indexes:
        notes.append(f"each value is a row of {spec.indexes!r}, counted from 0")
    if spec.owner_of:
        notes.append(f"for each row of {spec.owner_of!r} its example, counted from 0; leave it out for one example")
    description = "; ".join(note for note in notes if note)
    content = content_of(spec)
    if content is None:
        return nested | {"description": description}
    file = content.json_schema()
    batch = {"type": "array", "items": file, "minItems": 1, "maxItems": settings.max_batch}
    return {"description": f"{description}; or encoded {content.noun}s", "anyOf": [file, batch, nested]}


def _outputs(artifact: Artifact) -> Schema:
    values = {spec.name: _nested(spec, None, bounds=False) for spec in artifact.manifest.outputs}
    units = {spec.name: {"const": spec.unit} for spec in artifact.manifest.outputs if spec.unit}
    given = {"units": _closed(units)} if units else {}
    fields = {
        "outputs": _closed(values),
        **given,
        "model": {"const": artifact.manifest.name},
        "variant": {"type": "string"},
    }
    return _closed(fields)


def _nested(spec: TensorSpec, max_batch: int | None, *, bounds: bool) -> Schema:
    schema = _number(spec, bounds=bounds)
    for dim in reversed(spec.shape):
        schema = {"type": "array", "items": schema}
        if isinstance(dim, int):
            schema |= {"minItems": dim, "maxItems": dim}
        elif bounds:
            schema["minItems"] = 0 if spec.indexes else 1
            if max_batch is not None and dim == "batch":
                schema["maxItems"] = max_batch
    return schema


def _number(spec: TensorSpec, *, bounds: bool) -> Schema:
    if spec.dtype == "bool":
        return {"type": "boolean"}
    if not bounds:
        return {"type": "integer" if spec.numpy_dtype.kind in "iu" else "number"}
    kind: Schema = {"type": "integer"}
    if spec.numpy_dtype.kind in "iu":
        low, high = int(np.iinfo(spec.dtype).min), int(np.iinfo(spec.dtype).max)
    else:
        kind = {"type": "number"}
        low, high = float(np.finfo(spec.dtype).min), float(np.finfo(spec.dtype).max)  # type: ignore[assignment]
    if spec.minimum is not None:
        low = max(low, spec.minimum)  # type: ignore[assignment]
    if spec.maximum is not None:
        high = min(high, spec.maximum)  # type: ignore[assignment]
    if spec.indexes or spec.owner_of:
        low = max(low, 0)
    return kind | {"minimum": low, "maximum": high}


def _closed(properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _error_schema() -> Schema:
    return _closed(
        {
            "error": {"type": "string", "description": "One sentence: what was wrong, and what to do."},
            "status": {"type": "integer"},
            "request_id": {"type": "string"},
        }
    )


def _errors(*codes: int) -> Schema:
    return {str(code): _json(_ERRORS[code], "Error") for code in codes}


def _json(description: str, schema: str) -> Schema:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "headers": _request_id_header(), "content": content}


def _object(description: str) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": {"type": "object"}}}}


def _text(description: str) -> Schema:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _request_id_header() -> Schema:
    return {"x-request-id": {"$ref": "#/components/headers/RequestId"}}


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
    content = content_of(spec)
    also = "" if content is None else f", or {BYTES} [n]: an encoded {content.noun} each"
    return f"`{spec.name}`, {TO_V2[spec.dtype]} {v2_shape(spec)}{also}"
