"""Static int8: QuantizeLinear and DequantizeLinear around the operators that ONNX Runtime has int8 kernels for.

Activations are uint8 with one scale per tensor, weights int8 with one scale per channel (or per tensor). On x86 this
pair runs on the VNNI instructions. With AVX2 only, sums saturate unless weights use 7 bits
(``Quantization.reduce_range``). On ARM it is one of the two fast pairs.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, version_converter
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData, quant_pre_process

from lading.build.examples import open_graph
from lading.build.export.cleanup import name_nodes, quiet, strip_notes
from lading.errors import QuantizationError
from lading.spec import Quantization

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with weights: nearly all of the work."""
QUANTIZED = (
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
    "MatMulNBits",
)
"""Operators that show that a graph is quantized already."""
CHAINED = (
    *WEIGHTED,
    "Add",
    "Relu",
    "Clip",
    "MaxPool",
    "Concat",
    "Split",
    "Flatten",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Resize",
)
"""The weighted operators, and common ones between them that have an int8 kernel, so that a chain stays in int8."""
ELEMENTWISE = (*CHAINED, "Mul", "Sigmoid", "GlobalAveragePool", "AveragePool")
"""With the steps of SiLU and of squeeze-and-excitation. ONNX Runtime has no kernel for HardSwish and HardSigmoid."""
THIN = 4
"""A convolution with fewer input channels a group is thin: int8 instructions sum four products at once. That is
depthwise convolutions, and the first one of an RGB network."""


@dataclass(frozen=True)
class Form:
    """Which operators a static int8 graph has in int8. Which form is fastest depends on the network."""

    name: str
    op_types: tuple[str, ...]
    floats: Literal["thin", "first", "none"]
    """Convolutions that stay in float32: thin ones, the first thin one, or none."""


FORMS = (
    Form("thick", CHAINED, "thin"),
    Form("all", CHAINED, "none"),
    Form("elementwise", ELEMENTWISE, "none"),
    Form("but-first", ELEMENTWISE, "first"),
)
"""Times as fast as float32 at batches of 1 and 8, one thread of a Xeon with VNNI (decision 36): ResNet-18 1.8 and 1.2
as ``thick``, 3.1 and 2.8 as ``all``; MobileNetV2 1.7 and 1.6 as ``thick``, 2.5 and 2.1 as ``but-first``;
EfficientNet-B0 0.8 and 0.6 as ``thick``, 1.3 and 1.7 as ``but-first``."""


Ranges = Mapping[str, tuple[float, float]]
"""Lowest and highest value by tensor; infinite where it was NaN or infinite."""
KEEP_ASPECT = "keep_aspect_ratio_policy"
OLDEST_OPSET = 13
"""The first opset in which DequantizeLinear has a scale for each channel."""


def prepare(file: Path) -> onnx.ModelProto:
    """Read a float32 graph, fold its constants and batch normalisation, and infer its shapes.

    Raises:
        QuantizationError: it holds QuantizeLinear already, its opset is too old and cannot be converted, or ONNX
            Runtime cannot optimise it.
    """
    given = onnx.load(file)
    if any(node.op_type in QUANTIZED for node in given.graph.node):
        raise QuantizationError(f"{file.name} is quantized already: quantize the float32 graph it was made from")
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        source = _of_opset(given, file, Path(folder))
        try:
            with quiet():
                quant_pre_process(source, prepared, skip_symbolic_shape=True)
        except Exception as error:  # ONNX Runtime's own exceptions share no public base.
            raise QuantizationError(f"{file.name} cannot be prepared for quantization: {error}") from error
        model = onnx.load(prepared)
    name_nodes(model)
    _resize_all_axes(model.graph)
    _flatten_biases(model.graph)
    # If ONNX Runtime cannot read the graph, the preprocessor only logs that and skips optimising. Opening it raises.
    open_graph(model)
    return model


def _of_opset(model: onnx.ModelProto, file: Path, folder: Path) -> Path:
    """The file, or a converted one in the folder: in an opset that has all that is needed."""
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), OLDEST_OPSET)
    if opset >= OLDEST_OPSET:
        return file
    try:
        onnx.save(version_converter.convert_version(model, OLDEST_OPSET), folder / file.name)
    except Exception as error:  # the converter raises RuntimeError and its own
        reason = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
        raise QuantizationError(
            f"{file.name} is of opset {opset}, int8 takes {OLDEST_OPSET} or newer, and it cannot be converted "
            f"({reason}): export it anew"
        ) from error
    return folder / file.name


def _resize_all_axes(graph: onnx.GraphProto) -> None:
    """Give each Resize of some axes the scales or the sizes of all axes instead, in place.

    In int8, ONNX Runtime 1.32 moves channels to the back and loses which axes are meant: the graph does not open.
    """
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info)
    }
    nodes = []
    for node in graph.node:
        attributes = {one.name: one for one in node.attribute}
        before = shapes.get(node.input[0], []) if node.op_type == "Resize" and "axes" in attributes else []
        policy = attributes.get("keep_aspect_ratio_policy")
        if before and not node.input[1] and policy in (None, helper.make_attribute(KEEP_ASPECT, "stretch")):
            axes = np.array([axis % len(before) for axis in attributes["axes"].ints])
            nodes += _of_all_axes(graph, node, before, axes, constants)
            node.attribute.remove(attributes["axes"])
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _of_all_axes(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    before: Sequence[int],
    axes: NDArray[np.int64],
    constants: Mapping[str, NDArray[Any]],
) -> list[onnx.NodeProto]:
    """Change the inputs of a Resize. Returns the nodes that compute them; none where they are constant."""
    given = list(node.input)
    by_sizes = len(given) > 3 and given[3] != ""
    name = f"{node.output[0]}/all"
    scales = _exact_scales(before, axes, constants.get(given[3])) if by_sizes else None
    if scales is None and not by_sizes and given[2] in constants:
        scales = np.ones(len(before), np.float32)
        scales[axes] = constants[given[2]]
    if scales is not None:
        graph.initializer.append(numpy_helper.from_array(scales, name))
        node.input[:] = [given[0], "", name]
        return []
    node.input[:] = [given[0], "", "", name] if by_sizes else [given[0], "", name]
    graph.initializer.append(numpy_helper.from_array(axes, f"{name}/axes"))
    if not by_sizes:
        graph.initializer.append(numpy_helper.from_array(np.ones(len(before), np.float32), f"{name}/ones"))
        return [helper.make_node("ScatterElements", [f"{name}/ones", f"{name}/axes", given[2]], [name], name)]
    return [
        helper.make_node("Shape", [given[0]], [f"{name}/before"], f"{name}/before"),
        helper.make_node("ScatterElements", [f"{name}/before", f"{name}/axes", given[3]], [name], name),
    ]


def _exact_scales(
    before: Sequence[int], axes: NDArray[np.int64], sizes: NDArray[np.int64] | None
) -> NDArray[np.float32] | None:
    """The scales of all axes that give these sizes; ``None`` where sizes are not known, or rounding gives others."""
    known = [before[axis] for axis in axes]
    if sizes is None or not all(known):
        return None
    scales = np.ones(len(before), np.float32)
    scales[axes] = sizes / np.array(known)
    # Shapes are inferred in float64, and the kernel computes in float32.
    found = {tuple(np.floor(scales[axes].astype(kind) * np.array(known, kind))) for kind in (np.float32, np.float64)}
    return scales if found == {tuple(sizes)} else None


def _flatten_biases(graph: onnx.GraphProto) -> None:
    """Give each Gemm its constant bias as a vector with a value per column, in place.

    ONNX takes (1, n) or one value for all, too; ONNX Runtime's quantizer reads the first axis as the columns.
    """
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    for node in graph.node:
        if node.op_type != "Gemm" or len(node.input) < 3 or node.input[1] not in constants:
            continue
        turned = any(one.name == "transB" and one.i for one in node.attribute)
        columns, bias = constants[node.input[1]].shape[0 if turned else 1], constants.get(node.input[2])
        if bias is not None and bias.shape != (columns,) and bias.size in (1, columns):
            name = f"{node.output[0]}/bias"
            vector = np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), columns))
            graph.initializer.append(numpy_helper.from_array(vector, name))
            node.input[2] = name


def quantizable_layers(
    model: onnx.ModelProto, ranges: Ranges, exclude: Sequence[str] = (), form: Form = FORMS[0]
) -> list[str]:
    """Names of the layers that a form has in int8, in graph order.

    Args:
        model: a prepared graph.
        ranges: lowest and highest value by tensor. A layer that reads or writes one of infinite range stays in float32.
        exclude: regular expressions. A node with a matching name stays in float32.

    Raises:
        QuantizationError: a pattern matches no node, or is not a regular expression.
    """
    excluded = excluded_nodes(model, exclude) | _unbounded(model, ranges)
    weights = {initializer.name: tuple(initializer.dims) for initializer in model.graph.initializer}
    weighted = [node for node in model.graph.node if node.op_type in WEIGHTED and node.input[1] in weights]
    thin = [node.name for node in weighted if node.op_type == "Conv" and weights[node.input[1]][1] < THIN]
    floats = {"thin": thin, "first": thin[:1], "none": []}[form.floats]
    return [node.name for node in weighted if node.name not in excluded and node.name not in floats]


def excluded_nodes(model: onnx.ModelProto, patterns: Sequence[str]) -> set[str]:
    """Names of the nodes that match any of the patterns.

    Raises:
        QuantizationError: a pattern matches no node, or is not a regular expression.
    """
    names = [node.name for node in model.graph.node]
    found: set[str] = set()
    for pattern in patterns:
        try:
            matched = {name for name in names if re.search(pattern, name)}
        except re.error as error:
            raise QuantizationError(f"exclude={pattern!r} is not a regular expression: {error}") from None
        if not matched:
            some = ", ".join(names[:: max(1, len(names) // 5)][:5])
            raise QuantizationError(f"exclude={pattern!r} matches no node; nodes are named like: {some}")
        found |= matched
    return found


def quantize_static(
    model: onnx.ModelProto,
    ranges: Ranges,
    quantization: Quantization,
    *,
    layers: Collection[str],
    form: Form = FORMS[0],
) -> onnx.ModelProto:
    """Quantize these layers, and the cheap operators of a form between any of them.

    Args:
        model: a prepared graph; it is left as it is.
        ranges: lowest and highest value by tensor. Operators at one of infinite range stay in float32.
        quantization: gives ``per_channel``, ``reduce_range`` and ``exclude``.
        layers: names of weighted nodes to quantize; the others stay in float32.
        form: gives the operators between them.

    Raises:
        QuantizationError: there is no layer to quantize, or the quantizer refuses the graph.
    """
    if not layers:
        raise QuantizationError(
            f"there is nothing to quantize: the graph has no {', '.join(WEIGHTED)} with constant weights outside of "
            "what is excluded, and of what is NaN or infinite on the calibration examples"
        )
    patterns = excluded_nodes(model, quantization.exclude) | _unbounded(model, ranges)
    behind = _behind(model, layers)
    skipped = [
        node.name
        for node in model.graph.node
        if node.name in patterns or node.name in behind or (node.op_type in WEIGHTED and node.name not in layers)
    ]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    extremes = {
        name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items() if math.isfinite(high - low)
    }
    try:
        with quiet():
            quantizer = QDQQuantizer(
                copy,
                quantization.per_channel,
                quantization.reduce_range,
                QuantType.QInt8,
                QuantType.QUInt8,
                TensorsData(CalibrationMethod.MinMax, extremes),
                [],
                skipped,
                list(form.op_types),
                {"MatMulConstBOnly": True},
            )
            quantizer.quantize_model()
    except Exception as error:  # The quantizer raises ValueError, KeyError, RuntimeError and AssertionError alike.
        raise QuantizationError(f"the graph cannot be quantized: {error}") from error
    return strip_notes(quantizer.model.model)


def _unbounded(model: onnx.ModelProto, ranges: Ranges) -> set[str]:
    """Names of the nodes that read or write a tensor of infinite range, such as a column with missing values."""
    unbounded = {name for name, (low, high) in ranges.items() if not math.isfinite(high - low)}
    return {node.name for node in model.graph.node if unbounded.intersection((*node.input, *node.output))}


def _behind(model: onnx.ModelProto, layers: Collection[str]) -> set[str]:
    """Names of the nodes that no layer reads from, directly or through others.

    They make the outputs, in the units of the outputs. One scale for a column from 0 to 300 and another from 0 to 1
    would round the second one to almost nothing.
    """
    read: set[str] = set()
    behind: set[str] = set()
    for node in reversed(model.graph.node):
        if node.name in layers or read.intersection(node.output):
            read.update(node.input)
        else:
            behind.add(node.name)
    return behind
