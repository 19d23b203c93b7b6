"""``export.json``: what the export stage leaves for the next one. Reading it needs no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from lading.errors import QuantizationError
from lading.spec import Frozen

MANIFEST = "export.json"


class ExportedGraph(Frozen):
    """One exported module."""

    file: str
    """Name inside the export folder."""
    pruning: float
    """Share of the multiply-accumulates removed, 0 to 1."""
    checkpoint: str
    """File name of the weights."""
    max_difference: float
    """Largest absolute difference from torch over the sweep."""
    opset: int
    parameters: int


def graph_file(pruning: float) -> str:
    """File name of a graph: ``fp32.onnx``, or ``pruned30.onnx`` for 0.3."""
    return f"pruned{round(pruning * 100)}.onnx" if pruning else "fp32.onnx"


def write_export(out: Path, graphs: Sequence[ExportedGraph]) -> None:
    """Write ``export.json``."""
    content = {"graphs": [graph.model_dump(mode="json") for graph in graphs]}
    (out / MANIFEST).write_text(json.dumps(content, indent=2) + "\n")


def read_export(folder: Path) -> list[ExportedGraph]:
    """Read ``export.json``.

    Raises:
        QuantizationError: the folder is not one that ``lading export`` finished.
    """
    file = folder / MANIFEST
    try:
        content = json.loads(file.read_text())
        return [ExportedGraph.model_validate(graph) for graph in content["graphs"]]
    except FileNotFoundError:
        raise QuantizationError(f"{folder} has no {MANIFEST}: run `lading export` first") from None
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise QuantizationError(f"{file} cannot be read: {error}; run `lading export` again") from error
