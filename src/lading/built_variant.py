"""``variants.json``: what the quantize stage leaves for verify and pack."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from lading.errors import QuantizationError
from lading.spec import Frozen, Variant

MANIFEST = "variants.json"
Precision = Literal["fp32", "int8", "int8-dynamic", "fp16", "unknown"]


class BuiltVariant(Frozen):
    """One variant after quantization: a graph, or the sentence why there is none."""

    variant: Variant
    file: str | None
    """Name inside the variants folder."""
    precision: Precision
    problem: str | None = None
    """Why the variant could not be built."""
    details: dict[str, Any] = Field(default_factory=dict)
    """Which nodes stayed in float32, the calibration, the sensitivity table."""


def write_variants(folder: Path, variants: Sequence[BuiltVariant]) -> Path:
    """Write ``variants.json`` into the folder of the graphs, and return the folder."""
    content = [variant.model_dump(mode="json") for variant in variants]
    (folder / MANIFEST).write_text(json.dumps(content, indent=2) + "\n")
    return folder


def read_variants(folder: Path) -> list[BuiltVariant]:
    """Read ``variants.json``.

    Raises:
        QuantizationError: the folder is not one that ``lading quantize`` finished.
    """
    file = folder / MANIFEST
    try:
        return [BuiltVariant.model_validate(entry) for entry in json.loads(file.read_text())]
    except FileNotFoundError:
        raise QuantizationError(f"{folder} has no {MANIFEST}: run `lading quantize` first") from None
    except (ValueError, TypeError, ValidationError) as error:
        raise QuantizationError(f"{file} cannot be read: {error}; run `lading quantize` again") from error
