"""Generate the strict ``values.schema.json`` and the ``README.md`` of the chart from ``helm/lading/values.yaml``.

A comment above each value documents it::

    # -- What it means, over one or more lines.
    # @schema {minimum: 1}
    key: value

``# @section`` starts a section. A mapping with documented keys is an object without other keys. A mapping with its own
comment has the schema in ``# @schema``. ``# @schema settings`` is the schema of the server's settings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lading.settings import Settings

CHART = Path(__file__).parents[1] / "helm" / "lading"
DRAFT = "http://json-schema.org/draft-07/schema#"
SET_BY_CHART = frozenset(
    {"artifact", "digest", "models", "http_host", "http_port", "grpc_port", "api_keys", "tls_certificate", "tls_key"}
)
"""Settings that the chart sets from other values. They are not allowed under ``settings``."""
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
            schema = settings_schema() if written == "settings" else yaml.safe_load(written)
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
            kept = {"type": "string"}  # the text of the environment variable
        properties[name] = {**kept, "description": field["description"]}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def schema(text: str) -> dict[str, Any]:
    """The strict JSON Schema of a values file."""
    root = _object()
    for value in values(text):
        node = root
        for name in value.path[:-1]:
            node = node["properties"].setdefault(name, _object())
        node["properties"][value.path[-1]] = {"description": value.description, **value.schema}
    return {"$schema": DRAFT, "title": "Values of the chart lading", **root}


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
helm upgrade --install cards helm/lading -f values.yaml --set image.repository=REGISTRY/cards --wait
helm test cards
```


## Values
"""


def generated_files() -> dict[Path, str]:
    """Content by file."""
    text = (CHART / "values.yaml").read_text()
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    return {
        CHART / "values.schema.json": json.dumps(schema(text), indent=2) + "\n",
        CHART / "README.md": readme(text, chart),
    }
