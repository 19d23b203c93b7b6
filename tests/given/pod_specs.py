"""The specs of pods in a manifest, however deep they stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def pod_specs(value: Any) -> Iterator[dict[str, Any]]:
    """Every object with a list of containers."""
    if isinstance(value, dict):
        if isinstance(value.get("containers"), list):
            yield value
        for inner in value.values():
            yield from pod_specs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pod_specs(inner)
