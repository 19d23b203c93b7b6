"""Generate the strict ``values.schema.json`` and the ``README.md`` of the chart from ``helm/lading/values.yaml``.

A comment above each value documents it::

    # -- What it means, over one or more lines.
    # @schema {minimum: 1}
    key: value

``# @section`` starts a section. A mapping with documented keys is an object without other keys. A mapping with its own
comment has the schema in ``# @schema``. ``# @schema settings`` is the schema of the server's settings,
``# @schema probe`` of a probe's numbers, and ``# @schema slos`` of a list of SLOs. ``form`` names a
form of templates/_forms.tpl, which refuses other texts with a sentence.

``--set`` makes a number of ``20240101`` and a boolean of ``true``. So a text may be either, and ``defaults.json`` tells
the chart which values are texts. It also holds the defaults, for a release whose stored values lack a newer key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lading.monitoring.slo import Slo
from lading.serve.telemetry.request_series import SECONDS
from lading.settings import Settings

CHART = Path(__file__).parents[1] / "helm" / "lading"
DRAFT = "http://json-schema.org/draft-07/schema#"
SET_BY_CHART = frozenset(
    {"artifact", "digest", "models", "http_host", "http_port", "grpc_port", "api_keys", "tls_certificate", "tls_key"}
    | {"trusted_keys"}
)
"""Settings that the chart sets from other values. They are not allowed under ``settings``."""
INT32 = 2**31 - 1
"""Largest whole number of a field of Kubernetes' objects."""
FEW = 12
"""Keys of an object that a message can list."""
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_COMMENT = re.compile(r"^\s*# ?(.*)$")


@dataclass(frozen=True)
class Value:
    """One documented value."""

    path: tuple[str, ...]
    default: Any
    description: str
    schema: dict[str, Any]
    section: str


class UndocumentedValueError(ValueError):
    """A value has no ``# --`` comment above it."""


def values(text: str) -> Iterator[Value]:
    """All documented values of a values file, in order.

    Raises:
        UndocumentedValueError: a leaf has no documentation; the message names it.
    """
    lines = text.splitlines()
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    yield from _walk(root, (), lines)


def _walk(node: yaml.MappingNode, above: tuple[str, ...], lines: list[str]) -> Iterator[Value]:
    for key, child in node.value:
        path = (*above, key.value)
        comments = list(_comments(lines, key.start_mark.line))
        description, schema = _documentation(comments)
        if description:
            default = yaml.safe_load(yaml.serialize(child))
            yield Value(path, default, description, _type(default) | schema, _section(lines, key.start_mark.line))
        elif isinstance(child, yaml.MappingNode) and child.value:
            yield from _walk(child, path, lines)
        else:
            raise UndocumentedValueError(f"{'.'.join(path)} has no `# --` comment above it")


def _comments(lines: list[str], key: int) -> Iterator[str]:
    """The comment lines directly above a key, from the top."""
    first = key
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    for line in lines[first:key]:
        match = _COMMENT.match(line)
        assert match is not None
        yield match[1]


def _documentation(comments: list[str]) -> tuple[str, dict[str, Any]]:
    words: list[str] = []
    schema: dict[str, Any] = {}
    for comment in comments:
        if comment.startswith("@schema "):
            written = comment.removeprefix("@schema ")
            named = {"settings": settings_schema, "probe": probe_schema, "slos": slos_schema}.get(written)
            schema = named() if named else yaml.safe_load(written)
        elif comment.startswith("-- "):
            words = [comment.removeprefix("-- ")]
        elif words:
            words.append(comment)
    return " ".join(words), schema


def _section(lines: list[str], key: int) -> str:
    return next((line.removeprefix("# @section ") for line in lines[key::-1] if line.startswith("# @section ")), "")


def _type(default: Any) -> dict[str, Any]:
    return {"type": _TYPES[type(default)]} if default is not None else {}


def settings_schema() -> dict[str, Any]:
    """The server's settings as an object: strict, each with its type, limits and meaning."""
    generated = Settings.model_json_schema()
    properties = {}
    for name, field in generated["properties"].items():
        if name in SET_BY_CHART:
            continue
        kept = {
            key: field[key]
            for key in ("type", "enum", "anyOf", "minimum", "maximum", "exclusiveMinimum")
            if key in field
        }
        if kept.get("type") == "array" or "anyOf" in kept:
            kept = {"type": ["string", "number", "array"]}  # the text of the environment variable, or its parts
        if kept.get("type") == "object":
            kept = {"type": ["string", "object"]}
        properties[name] = {**kept, "description": field["description"]}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def probe_schema() -> dict[str, Any]:
    """The numbers of a probe. The chart sets what it asks for."""
    least = {"initialDelaySeconds": 0, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 1}
    least |= {"successThreshold": 1, "terminationGracePeriodSeconds": 1}
    numbers = {name: {"type": "integer", "minimum": minimum} for name, minimum in least.items()}
    return {"type": "object", "additionalProperties": False, "properties": numbers}


def slos_schema() -> dict[str, Any]:
    """SLOs in the form of their files, with the thresholds that the histogram can tell."""
    generated = Slo.model_json_schema()
    parts = generated.pop("$defs")

    def inlined(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return inlined(parts[part["$ref"].rpartition("/")[2]])
        kept = {key: value for key, value in part.items() if key not in ("title", "default", "description")}
        if "properties" in part:
            kept["properties"] = {name: inlined(value) for name, value in part["properties"].items()}
        return kept

    item = inlined(generated)
    item["properties"]["latency"]["properties"]["threshold_ms"] = {"enum": [round(bound * 1e3, 6) for bound in SECONDS]}
    return {"type": "array", "items": item}


def schema(text: str) -> dict[str, Any]:
    """The strict JSON Schema of a values file."""
    root = _object()
    for value in values(text):
        node = root
        for name in value.path[:-1]:
            node = node["properties"].setdefault(name, _object())
        node["properties"][value.path[-1]] = {"description": value.description, **_lenient(value.schema)}
    return {"$schema": DRAFT, "title": "Values of the chart lading", **_with_names(root)}


def _with_names(node: dict[str, Any]) -> dict[str, Any]:
    """The schema, where Helm's message about an unknown key shows the keys that it may have meant.

    Of a small object these are all keys, of another those with the same first two letters.
    """
    known = list(node.get("properties", ()))
    if node.get("additionalProperties") is not False or not known:
        return node
    properties = {name: _with_names(part) for name, part in node["properties"].items()}
    return {**node, "propertyNames": _names(known), "properties": properties}


def _names(known: list[str]) -> dict[str, Any]:
    if len(known) <= FEW:
        return {"enum": known}
    alike: dict[str, list[str]] = {}
    for name in known:
        alike.setdefault(name[:2].lower(), []).append(name)
    start = {two: "^" + "".join(f"[{letter}{letter.upper()}]" for letter in two) for two in alike}
    return {"allOf": [{"if": {"pattern": start[two]}, "then": {"enum": names}} for two, names in alike.items()]}


def _lenient(strict: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that a shell user sets without quotes: a free text may look like a number or a boolean."""
    kept = {key: _lenient(part) if isinstance(part, dict) else part for key, part in strict.items() if key != "form"}
    if "integer" in kept.get("type", ()) and kept["type"] != "string":
        kept.setdefault("maximum", INT32)
    if kept.get("type") == "string" and not kept.keys() & {"enum", "pattern"}:
        kept["type"] = ["string", "number", "boolean"]
    return kept


def defaults(text: str) -> dict[str, dict[str, Any]]:
    """For each documented value, by its dotted path: its default, its kind and its form.

    The kind is ``text``, ``texts`` (a list or a mapping of texts), ``resources``, ``environment``, ``names``,
    ``objects`` or ``other``. A value that may be null has no default, because Helm drops a null, and null has a meaning
    of its own.
    """
    found = {}
    for value in values(text):
        nullable = "null" in value.schema.get("type", ())
        default = None if nullable else value.default
        found[".".join(value.path)] = {"default": default, "kind": _kind(value), "form": value.schema.get("form", "")}
    return found


def _kind(value: Value) -> str:
    name, inner = value.path[-1], value.schema.get("items") or value.schema.get("additionalProperties")
    if name in ("resources", "extraEnv", "imagePullSecrets"):
        return {"resources": "resources", "extraEnv": "environment", "imagePullSecrets": "names"}[name]
    if isinstance(inner, dict) and inner.get("type") == "string":
        return "texts"
    if name == "affinity" or (isinstance(inner, dict) and inner.get("type") == "object"):
        return "objects"
    return "text" if isinstance(value.default, str) else "other"


def _object() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def readme(text: str, chart: dict[str, Any]) -> str:
    """The chart's README: how to install it, and one table of values per section."""
    parts = [_HEAD.format(**chart)]
    section = None
    for value in values(text):
        if value.section != section:
            section = value.section
            parts.append(f"\n### {section}\n\n| value | default | meaning |\n|---|---|---|\n")
        default = json.dumps(value.default)
        description = value.description.replace("|", "\\|")
        parts.append(f"| `{'.'.join(value.path)}` | `{default}` | {description} |\n")
    return "".join(parts)


_HEAD = """<!-- Generated by `make generate` from values.yaml. -->

# {name}

{description}. Version {version}, for Kubernetes {kubeVersion}.

```sh
lading values artifacts/cards > values.yaml
helm upgrade --install cards helm/lading -f values.yaml --set image.repository=registry.example.com/cards --wait
helm test cards
```


## Values
"""


def _lines(records: dict[str, dict[str, Any]]) -> str:
    """JSON with a line for each record."""
    return (
        "{\n" + ",\n".join(f"  {json.dumps(path)}: {json.dumps(record)}" for path, record in records.items()) + "\n}\n"
    )


def generated_files() -> dict[Path, str]:
    """Content by file."""
    text = (CHART / "values.yaml").read_text()
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    return {
        CHART / "values.schema.json": json.dumps(schema(text), indent=2) + "\n",
        CHART / "README.md": readme(text, chart),
        CHART / "defaults.json": _lines(defaults(text)),
    }
