"""A model that takes about 50 microseconds, so that the framework around it is the cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lading.spec import TensorSpec

WIDTH, HIDDEN, CLASSES = 16, 512, 4
INPUT = TensorSpec(name="x", dtype="float32", shape=("batch", WIDTH))


def write(path: Path) -> Path:
    """Three dense layers with random weights: float32 (batch, 16) to the probabilities of four classes."""
    rng = np.random.default_rng(0)
    sizes = [(WIDTH, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, CLASSES)]
    weights = [(rng.normal(size=size) / size[0] ** 0.5).astype(np.float32) for size in sizes]
    nodes, name = [], "x"
    for index in range(3):
        nodes.append(helper.make_node("MatMul", [name, f"w{index}"], [f"m{index}"]))
        nodes.append(
            helper.make_node("Relu" if index < 2 else "Softmax", [f"m{index}"], [f"h{index}" if index < 2 else "y"])
        )
        name = f"h{index}"
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(weight, f"w{index}") for index, weight in enumerate(weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path
