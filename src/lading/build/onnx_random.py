"""Find out whether a bare graph draws random numbers, or was exported in training mode."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from lading.build.examples import open_graph
from lading.build.onnx_batching import BareModel
from lading.build.onnx_trial import TOLERANCE, run
from lading.spec import Array

_DRAW = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
EVAL = "export it after model.eval()"


def random_problem(bare: BareModel) -> str | None:
    """Compare the answers to the same request, sent three times.

    Returns:
        A sentence if they differ, as no server could prove then that it answers as what was packed, or if values are
        dropped at random.
    """
    drawing, training = [], []
    for node, constants in _nodes(bare.model.graph):
        if node.op_type in _DRAW:
            drawing.append(node.name or node.op_type)
        elif _is_on(node, constants):
            training.append(node)
    dropout = next((node for node in training if node.op_type == "Dropout"), None)
    if dropout is not None:
        # The runtime may draw the same mask in each run, and the answer is a wrong one all the same.
        name = dropout.name or dropout.op_type
        return f"its node {name!r} is a Dropout in training mode, which sets inputs to zero at random: {EVAL}"
    session = open_graph(bare.model)
    feed = bare.trial.feed(1)
    first, *others = [run(session, feed) for _ in range(3)]
    most = 0.0 if drawing or training else TOLERANCE
    differing = [
        node.name
        for index, node in enumerate(session.get_outputs())
        if any(_differs(first[index], other[index], most) for other in others)
    ]
    if not differing:
        return None
    if training:
        why = f"its node {training[0].name or training[0].op_type!r} is in training mode: {EVAL}"
    elif drawing:
        why = (
            f"its node {drawing[0]!r} draws random numbers: make them an input of the graph, or take the most likely "
            "answer instead of a drawn one"
        )
    else:
        why = "no node says so; export it without what is random"
    return f"the same input gets another {' and '.join(map(repr, differing))} in each run, since {why}"


def training_problem(model: onnx.ModelProto) -> str | None:
    """Why rows of a batch change each other's answers, where a norm takes the statistics of the batch."""
    for node, constants in _nodes(model.graph):
        if node.op_type == "BatchNormalization" and _is_on(node, constants):
            return f"its node {node.name or node.op_type!r} takes the mean of the batch, as in training: {EVAL}"
    return None


def _differs(one: Array, other: Array, most: float) -> bool:
    if one.shape != other.shape:
        return True
    if one.dtype.kind != "f" or most == 0.0:
        return not np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return True
    finite = np.isfinite(one)
    gap = np.abs(one[finite].astype(np.float64) - other[finite].astype(np.float64)).max(initial=0.0)
    return bool(gap > most * np.abs(one[finite].astype(np.float64)).max(initial=1e-6))


def _nodes(
    graph: onnx.GraphProto, above: dict[str, onnx.TensorProto] | None = None
) -> Iterator[tuple[onnx.NodeProto, dict[str, onnx.TensorProto]]]:
    """Every node, in subgraphs, too, with the constants that it may read."""
    constants = {**(above or {}), **{one.name: one for one in graph.initializer}}
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                constants[node.output[0]] = attribute.t
        yield node, constants
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner, constants)


def _is_on(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    """Whether a node is in training mode: by its attribute, or by the third input of a Dropout."""
    if any(one.name == "training_mode" and one.i for one in node.attribute):
        return True
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    value = constants.get(node.input[2])
    return value is None or bool(numpy_helper.to_array(value).any())
