"""The two models that every server serves, as ONNX files, which ``lading pack`` makes artifacts of.

``echo`` returns its inputs, and ``total`` adds up each row. ``peers/models.py`` has the same in numpy.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

ECHO = {
    "numbers": (TensorProto.FLOAT, 4),
    "counts": (TensorProto.INT64, 3),
    "octets": (TensorProto.UINT8, 2),
    "flags": (TensorProto.BOOL, 2),
}
"""Inputs of ``echo``: element type and columns. Each output is named after its input."""


def write_models(folder: Path) -> list[Path]:
    """Write ``echo.onnx`` and ``total.onnx``."""
    inputs = [helper.make_tensor_value_info(name, kind, ["batch", size]) for name, (kind, size) in ECHO.items()]
    outputs = [
        helper.make_tensor_value_info(f"{name}_out", kind, ["batch", size]) for name, (kind, size) in ECHO.items()
    ]
    copies = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ECHO]
    numbers = helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["batch", 4])
    total = helper.make_tensor_value_info("total", TensorProto.FLOAT, ["batch", 1])
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    add = helper.make_node("ReduceSum", ["numbers", "axis"], ["total"], keepdims=1)
    graphs = (
        helper.make_graph(copies, "echo", inputs, outputs),
        helper.make_graph([add], "total", [numbers], [total], [axis]),
    )
    files = []
    for graph in graphs:
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        files.append(folder / f"{graph.name}.onnx")
        onnx.save(model, files[-1])
    return files
