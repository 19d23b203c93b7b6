"""``GET /docs.json``: OpenAPI 3.1, filled in from the artifact and the settings, so that it says what the server does.

``openapi.json`` is the document with holes such as ``${model}``. A string that is nothing but a hole becomes the hole's
JSON value. In responses, ``$errors`` lists status codes; the file describes each of them once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

import lading
from lading.artifact import Artifact
from lading.artifact.manifest import PackedVariant
from lading.content import content_of
from lading.protocol.describe import example_bodies
from lading.protocol.plain import Classifier
from lading.protocol.texts import TextForm
from lading.serve.http.openapi_schemas import (
    Schema,
    classify_answer,
    feedback_answer,
    infer_inputs,
    infer_request,
    inputs_schema,
    outputs_schema,
    truth_schema,
)
from lading.serve.keys import OPEN_PATHS
from lading.settings import Settings
from lading.spec import TensorSpec

TEMPLATE = Path(__file__).with_name("openapi.json")
TEXT_FORM = "/predict/${form}"
_FIRST_ONLY = frozenset({"predict", "classify", "model", "docs.json", "report"})
"""Paths that are about the first model unless ``?model=`` names another."""
_HOLE = re.compile(r"\$\{(\w+)\}")


def openapi(
    artifact: Artifact,
    packed: PackedVariant,
    classifier: Classifier | str,
    settings: Settings,
    texts: Sequence[TextForm] = (),
    *,
    named: bool = False,
) -> Schema:
    """Describe every endpoint of the app that serves this artifact.

    Args:
        artifact: that is served.
        packed: the variant that answers.
        classifier: what ``/classify`` does, or why it does not.
        settings: limits and switches.
        texts: forms of text that the model reads.
        named: the plain endpoints answer with another model unless ``?model=`` names this one.
    """
    manifest = artifact.manifest
    max_batch = min(settings.max_batch, manifest.max_batch or settings.max_batch)
    predict_example, infer_example = example_bodies(artifact)
    holes: dict[str, Any] = {
        "model": manifest.name,
        "version": manifest.version,
        "about": manifest.description or manifest.name,
        "variant": packed.variant.name,
        "precision": packed.precision,
        "lading": lading.__version__,
        "encoded": _encoded(manifest.inputs),
        "max_batch": max_batch,
        "max_body_bytes": settings.max_body_bytes,
        "predict_content": {
            "application/json": _body({"$ref": "#/components/schemas/Inputs"}, predict_example),
            **_files_for_predict(manifest.inputs),
        },
        "infer_inputs": infer_inputs(manifest.inputs),
        "infer_body": _body(infer_request(manifest.inputs), infer_example),
        "inputs": inputs_schema(manifest.inputs, max_batch),
        "outputs": outputs_schema(manifest),
    }
    template = orjson.loads(TEMPLATE.read_bytes())
    document: Schema = template["document"]
    paths = document["paths"]
    if isinstance(classifier, Classifier):
        holes |= _classify_holes(classifier)
    else:
        del paths["/classify"]
    if settings.feedback:
        holes |= {"truth": truth_schema(manifest.outputs), "scored": feedback_answer(manifest.outputs)}
    else:
        del paths["/feedback"]
    if not settings.drift:
        del paths["/report"]
    text_form = paths.pop(TEXT_FORM)
    errors = {code: _error(text) for code, text in template["errors"].items()}
    filled: Schema = _fill(document, holes, errors)
    for form in texts:
        about_form = {
            "form": form.name,
            "form_label": form.label,
            "form_example": form.example,
            "form_longest": form.longest,
        }
        filled["paths"] |= _fill({TEXT_FORM: text_form}, about_form, errors)
    if settings.api_keys:
        filled["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        filled["security"] = [{"key": []}]
        for path in OPEN_PATHS & filled["paths"].keys():
            filled["paths"][path]["get"]["security"] = []
    if settings.idempotency_mb:
        _take_retry_keys(filled["paths"])
    if named:
        naming = {"name": "model", "in": "query", "required": True, "schema": {"enum": [manifest.name]}}
        for path, item in filled["paths"].items():
            if path.split("/")[1] in _FIRST_ONLY:
                item["parameters"] = [naming | {"example": manifest.name}]
    return filled


_RETRY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A retry within a minute, with the same key and body, gets the first answer and does not run again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def _take_retry_keys(paths: Schema) -> None:
    for path, item in paths.items():
        if path.endswith("/infer") or path.split("/")[1] in ("classify", "predict"):
            item["post"].setdefault("parameters", []).append(_RETRY_KEY)


def _fill(node: Any, holes: Mapping[str, Any], errors: Mapping[str, Schema]) -> Any:
    if isinstance(node, str):
        whole = _HOLE.fullmatch(node)
        return holes[whole[1]] if whole else _HOLE.sub(lambda hole: str(holes[hole[1]]), node)
    if isinstance(node, list):
        return [_fill(one, holes, errors) for one in node]
    if isinstance(node, dict):
        codes = node.pop("$errors", ())
        filled = {_fill(key, holes, errors): _fill(one, holes, errors) for key, one in node.items()}
        return filled | {str(code): errors[str(code)] for code in codes}
    return node


def _error(description: str) -> Schema:
    return {
        "description": description,
        "headers": {"x-request-id": {"$ref": "#/components/headers/RequestId"}},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def _body(schema: Schema, example: Any) -> Schema:
    body: Schema = {"schema": schema}
    return body if example is None else body | {"example": example}


def _encoded(inputs: Sequence[TensorSpec]) -> str:
    contents = {spec.name: content for spec in inputs if (content := content_of(spec)) is not None}
    return "".join(
        f"`{name}` may be a string of text, or a list of them. "
        if content.textual
        else f"`{name}` may be a base64 string of a {content.formats} file instead, or a list of them. "
        for name, content in contents.items()
    )


def _files_for_predict(inputs: Sequence[TensorSpec]) -> Schema:
    """A form with a field for each input, and the file alone where it is the only input."""
    contents = {spec.name: content for spec in inputs if (content := content_of(spec)) is not None}
    if not contents:
        return {}
    binary: Schema = {"type": "string", "format": "binary"}
    form: Schema = {
        "type": "object",
        "description": "A field for each input: a file, or JSON without the batch dim. Repeat all fields for a batch.",
        "properties": {
            spec.name: binary if spec.name in contents else {"type": "string", "description": "JSON"}
            for spec in inputs
            if not spec.optional
        },
        "additionalProperties": False,
    }
    form["required"] = list(form["properties"])
    alone = contents[inputs[0].name].media_types if len(inputs) == 1 else ()
    return {"multipart/form-data": {"schema": form}} | {kind: {"schema": binary} for kind in alone}


def _classify_holes(classifier: Classifier) -> dict[str, Any]:
    content = classifier.content
    binary: Schema = {"schema": {"type": "string", "format": "binary"}}
    form: Schema = {
        "type": "object",
        "description": "One file, whose field may have another name. Fields of text are ignored.",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    }
    description = f"The {content.noun} is the body itself, or the one file of a form. {content.note}".rstrip()
    return {
        "noun": content.noun,
        "classify_description": description,
        "classify_body": dict.fromkeys(content.media_types, binary) | {"multipart/form-data": {"schema": form}},
        "classify_answer": classify_answer(classifier),
    }
