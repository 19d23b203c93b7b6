"""The range of every activation on real examples. Static quantization maps it onto 256 steps.

One pass over the examples serves all methods, in bounded memory: activations become a histogram as soon as a batch has
run. ONNX Runtime's own calibrators keep all activations of all examples, for one method at a time. Its entropy method
has, by default, as many bins as quantized steps, so there is nothing to choose from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from lading.build.examples import open_graph
from lading.errors import QuantizationError
from lading.spec import Array

Method = Literal["minmax", "entropy", "percentile"]

BATCH_SIZE = 4
"""Examples whose activations are in memory at once: MobileNetV3-small makes 12 MB of them for each."""
BINS = 2048
"""Bins on either side of zero, as in TensorRT (Migacz, 8-bit inference with TensorRT, GTC 2017)."""
STEPS = 128
"""Quantized steps on either side of zero."""
COUNTED = 2**16
"""Values per tensor and batch that are counted, evenly spread. Minimum and maximum use all values."""
CANDIDATE_STRIDE = 8
"""Every eighth bin is tried as the threshold: a step of 0.4 % of the largest magnitude seen."""
PERCENTILE = 99.99


@dataclass
class Activation:
    """Range and histogram of one tensor. The range of one that is not always finite is infinite: it stays in float."""

    low: float
    high: float
    counts: NDArray[np.int64] | None = None
    """Counts of values other than zero, in 2 * BINS bins over [-reach, reach]. Zeros are left out: every quantization
    represents them exactly, and after a ReLU most values are zero and would hide the rest."""

    @property
    def reach(self) -> float:
        return max(abs(self.low), abs(self.high))

    def range(self, method: Method) -> tuple[float, float]:
        """Lowest and highest value to represent; infinite where the tensor was NaN or infinite."""
        if method == "minmax" or self.counts is None or not self.counts.any():
            return self.low, self.high
        low, high = _percentile_range(self) if method == "percentile" else _entropy_range(self)
        return max(low, self.low), min(high, self.high)


def observe(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    feeds: Iterable[dict[str, Array]],
    *,
    histograms: bool,
) -> dict[str, Activation]:
    """Run a graph and return the range of its activations.

    Args:
        model: a float32 graph.
        tensors: names of the tensors to observe.
        feeds: one batch of inputs by name each. They are gone through twice if histograms are wanted, so a generator
            does not do; one that is read anew each time keeps memory flat.
        histograms: count them too, for the entropy and percentile methods.

    Raises:
        QuantizationError: there is no tensor to observe, or there are no examples.
    """
    if not tensors:
        raise QuantizationError(
            "there is nothing to quantize: int8 makes Conv, ConvTranspose, Gemm and MatMul of float32 faster, and the "
            "graph has none"
        )
    session = _observing_session(model, tensors)
    seen: dict[str, Activation] = {}
    ran = False
    for feed in feeds:
        ran = True
        for name, values in zip(tensors, session.run(list(tensors), feed), strict=True):
            if values.size:
                _widen(seen, name, values)
    if not ran:
        raise QuantizationError("static quantization needs examples to calibrate with, but the data set is empty")
    if histograms:
        for feed in feeds:
            for name, values in zip(tensors, session.run(list(tensors), feed), strict=True):
                if name in seen:
                    _count(seen[name], values)
    return seen


def float_activations(model: onnx.ModelProto, op_types: Iterable[str]) -> list[str]:
    """Names of the float32 tensors, other than constants, that nodes of these types read or write; in graph order.

    The model needs inferred shapes.
    """
    graph, kinds = model.graph, set(op_types)
    values = (*graph.input, *graph.output, *graph.value_info)
    floats = {value.name for value in values if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    floats -= {initializer.name for initializer in graph.initializer}
    touched = [name for node in graph.node if node.op_type in kinds for name in (*node.input, *node.output)]
    return [name for name in dict.fromkeys(touched) if name in floats]


def _observing_session(model: onnx.ModelProto, tensors: Sequence[str]) -> ort.InferenceSession:
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    present = {value.name for value in exposed.graph.output}
    values = {value.name: value for value in (*exposed.graph.value_info, *exposed.graph.input)}
    exposed.graph.output.extend(values[name] for name in tensors if name not in present)
    return open_graph(exposed)


def _widen(seen: dict[str, Activation], name: str, values: Array) -> None:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        # NaN marks a missing value, -inf a masked one. No int8 stands for either.
        low, high = -math.inf, math.inf
    known = seen.setdefault(name, Activation(low, high))
    known.low, known.high = min(known.low, low), max(known.high, high)


def _count(activation: Activation, values: Array) -> None:
    if activation.reach == math.inf:
        return
    if activation.counts is None:
        activation.counts = np.zeros(2 * BINS, np.int64)
    if activation.reach <= BINS / np.finfo(np.float32).max:
        return  # All values are so close to zero that BINS / reach overflows float32.
    # An odd stride reaches every column and channel where their number is even.
    flat = values.ravel()[:: values.size // COUNTED | 1]
    bins = (flat * np.float32(BINS / activation.reach) + np.float32(BINS)).astype(np.int64)
    activation.counts += np.bincount(np.minimum(bins, 2 * BINS - 1), minlength=2 * BINS)
    activation.counts[BINS] -= flat.size - np.count_nonzero(flat)


def _percentile_range(activation: Activation) -> tuple[float, float]:
    """Cut the same share off both ends."""
    assert activation.counts is not None
    cumulative = np.cumsum(activation.counts) / activation.counts.sum()
    cut = (100.0 - PERCENTILE) / 200.0
    first, last = np.searchsorted(cumulative, cut), np.searchsorted(cumulative, 1.0 - cut)
    width = activation.reach / BINS
    return float((first - BINS) * width), float((last + 1 - BINS) * width)


def _entropy_range(activation: Activation) -> tuple[float, float]:
    """The symmetric threshold at which 8 bits lose least information: Kullback-Leibler divergence of the clipped
    distribution of magnitudes from its quantized form (Migacz, 8-bit inference with TensorRT, GTC 2017)."""
    assert activation.counts is not None
    magnitudes = activation.counts[BINS:] + activation.counts[:BINS][::-1]
    candidates = np.arange(STEPS, BINS + 1, CANDIDATE_STRIDE)
    threshold = int(candidates[np.argmin([_divergence(magnitudes, int(bins)) for bins in candidates])])
    edge = activation.reach * threshold / BINS
    return -edge, edge


def _divergence(magnitudes: NDArray[np.int64], bins: int) -> float:
    """D(p || q) in nats: p is the histogram clipped at ``bins``, q is p quantized to ``STEPS`` steps."""
    # p keeps the clipped values in its last bin, so that clipping much makes p and q differ there. q spreads the counts
    # of each step over those of its bins that were not empty, as dequantized values would be. A small threshold clips
    # more, a large one has coarser steps; the minimum of D balances the two.
    kept = magnitudes[:bins].astype(np.float64)
    clipped = kept.copy()
    clipped[-1] += magnitudes[bins:].sum()
    starts = np.arange(STEPS) * bins // STEPS
    widths = np.diff([*starts, bins])
    filled = kept > 0
    shares = np.add.reduceat(kept, starts) / np.maximum(np.add.reduceat(filled, starts, dtype=np.int64), 1)
    quantized = np.repeat(shares, widths) * filled
    if not quantized.any():
        return float("inf")
    p, q = clipped / clipped.sum(), quantized / quantized.sum()
    # The last bin may hold clipped values only. Its share in q is then 0; a tiny one keeps the divergence finite.
    inside = p > 0
    return float(np.sum(p[inside] * np.log(p[inside] / np.maximum(q[inside], 1e-9))))
