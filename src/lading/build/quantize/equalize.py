"""Channels of very different ranges between two convolutions get like ranges, and the answers stay as they are.

Static int8 has one scale for all channels of an activation: a channel a hundred times as small as another one keeps two
steps of 256. A convolution's output channel may be divided by any positive number if the next convolution's weights for
it are multiplied by it, because nothing between them is anything but linear in positive factors (Nagel et al.,
arXiv:1906.04721). No data and no training are needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

PASSED = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool")
"""Operators f with f(s x) = s f(x) for every s > 0, which keep channels apart."""
ROUNDS = 10
"""Over all pairs: a convolution is the second of one pair and the first of the next."""
UNEQUAL = 1.01
"""Largest factor of a channel for which nothing is to be gained."""

Weights = dict[str, NDArray[np.float32]]


def equalized(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """A graph with the same answers, and with channels of like ranges between its convolutions.

    Args:
        model: a prepared float32 graph; it is left as it is.

    Returns:
        ``None`` if no pair of convolutions gains from it.
    """
    weights: Weights = {one.name: numpy_helper.to_array(one).copy() for one in model.graph.initializer}
    pairs = list(_pairs(model.graph, weights))
    largest = 1.0
    for _ in range(ROUNDS):
        largest = max([largest, *(_equalize(first, second, weights) for first, second in pairs)])
    if largest <= UNEQUAL:
        return None
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for one in made.graph.initializer:
        if one.name in {name for pair in pairs for node in pair for name in node.input[1:]}:
            one.CopyFrom(numpy_helper.from_array(weights[one.name], one.name))
    return made


def _pairs(graph: onnx.GraphProto, weights: Mapping[str, object]) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Convolutions of which the second alone reads what the first writes. Their weights are nobody else's."""
    uses = Counter([*(name for node in graph.node for name in node.input), *(value.name for value in graph.output)])
    readers = {name: node for node in graph.node for name in node.input}

    def own(node: onnx.NodeProto) -> bool:
        return node.op_type == "Conv" and all(name in weights and uses[name] == 1 for name in node.input[1:])

    for first in filter(own, graph.node):
        node = first
        while uses[node.output[0]] == 1 and (following := readers.get(node.output[0])) is not None:
            node = following
            if node.op_type not in PASSED:
                break
        if node is not first and own(node):
            yield first, node


def _equalize(first: onnx.NodeProto, second: onnx.NodeProto, weights: Weights) -> float:
    """Give each channel between two convolutions the same range on both sides. Returns the largest factor."""
    one, other = weights[first.input[1]], weights[second.input[1]]
    channels = len(one)
    # The second has a row for each of its outputs, and reads the channels of its own group.
    by_group = other.reshape(channels // other.shape[1], -1, *other.shape[1:])
    before = np.abs(one.reshape(channels, -1)).max(1)
    after = np.abs(by_group.reshape(*by_group.shape[:3], -1)).max((1, 3)).reshape(-1)
    used = (before > 0) & (after > 0)
    factor = np.ones(channels, np.float32)
    factor[used] = np.sqrt(after[used] / before[used])
    one *= factor.reshape(-1, *[1] * (one.ndim - 1))
    for bias in first.input[2:]:
        weights[bias] *= factor
    by_group /= factor.reshape(by_group.shape[0], 1, by_group.shape[2], *[1] * (other.ndim - 2))
    middle = float(np.median(factor))
    return float(np.maximum(factor / middle, middle / factor).max())
