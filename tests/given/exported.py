"""What the export stage leaves, made from a graph that is there already."""

from __future__ import annotations

import shutil
from pathlib import Path

from lading.build.records import ExportedGraph, write_export


def lay_out(graph: Path, folder: Path, pruning: float = 0.0) -> Path:
    """Write an export folder with one graph, and return it."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(graph, folder / "fp32.onnx")
    entry = ExportedGraph(file="fp32.onnx", pruning=pruning, checkpoint="", max_difference=0.0, opset=20, parameters=1)
    write_export(folder, [entry])
    return folder
