"""Small graphs written in ONNX's text form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def parse(
    body: str, inputs: str = "float[N, 4] x", outputs: str = "float[N, 3] y", opset: int = 20, domain: str = ""
) -> onnx.ModelProto:
    """A graph in ONNX's text form.

    ``W`` and ``b`` are random weights, ``fixed`` and ``free`` are shapes, ``axes`` and ``last`` are axes.
    """
    extra = f', "{domain}" : 1' if domain else ""
    model = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : {opset}{extra}]> g ({inputs}) => ({outputs}) {{ {body} }}"""
    )
    rng = np.random.default_rng(0)
    constants = {"W": rng.normal(size=(4, 3)).astype(np.float32), "b": np.array([0.1, 0.2, 0.3], np.float32)}
    constants |= {"fixed": np.array([1, 12], np.int64), "free": np.array([-1, 12], np.int64)}
    constants |= {"axes": np.array([1, 2, 3], np.int64), "last": np.array([1], np.int64)}
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items() if n in read)
    return model


CLASSIFIER = "logits = Gemm (x, W, b) y = Softmax <axis = 1> (logits)"

COLOURS, NCHW = "m = GlobalAveragePool (input) f = Flatten (m) y = Softmax <axis = 1> (f)", "float[N, 3, 16, 16] input"
"""Nodes and input of a graph of normalised pictures."""


def with_constants(model: onnx.ModelProto, constants: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """The same graph with int64 vectors by name, instead of those that it has."""
    others = [one for one in model.graph.initializer if one.name not in constants]
    del model.graph.initializer[:]
    model.graph.initializer.extend(others)
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return model


def save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path
