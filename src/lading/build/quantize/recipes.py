"""Graphs of lower precision that need no calibration: int8 dynamic, and fp16."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization import quantize_dynamic as ort_quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

from lading.build.export.cleanup import quiet, strip_notes
from lading.build.quantize.static_int8 import excluded_nodes
from lading.errors import QuantizationError
from lading.spec import Quantization

OP_TYPES = ("MatMul", "Gemm", "Attention", "LSTM")


def quantize_dynamic(model: onnx.ModelProto, recipe: Quantization) -> onnx.ModelProto:
    """Quantize the matrix products of a prepared graph.

    Raises:
        QuantizationError: it has none with constant weights, or the quantizer refuses it.
    """
    weights = {initializer.name for initializer in model.graph.initializer}
    excluded = excluded_nodes(model, recipe.exclude)
    products = [
        node.name
        for node in model.graph.node
        if node.op_type in OP_TYPES and node.name not in excluded and weights.intersection(node.input)
    ]
    if not products:
        raise QuantizationError(
            "there is nothing to quantize dynamically: the graph has no matrix product with constant weights "
            f"({', '.join(OP_TYPES)}); use static quantization for convolutions"
        )
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        onnx.save(model, source)
        try:
            with quiet():
                ort_quantize_dynamic(
                    source,
                    target,
                    op_types_to_quantize=list(OP_TYPES),
                    per_channel=recipe.per_channel,
                    reduce_range=recipe.reduce_range,
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=sorted(excluded),
                )
        except Exception as error:  # The quantizer raises ValueError, KeyError, RuntimeError and AssertionError alike.
            raise QuantizationError(f"the graph cannot be quantized dynamically: {error}") from error
        return strip_notes(onnx.load(target))


def convert_fp16(model: onnx.ModelProto, recipe: Quantization) -> onnx.ModelProto:
    """Convert a prepared graph; its inputs and outputs keep their dtypes.

    Raises:
        QuantizationError: the converter refuses it.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    excluded = sorted(excluded_nodes(model, recipe.exclude))
    try:
        with quiet():
            converted = convert_float_to_float16(copy, keep_io_types=True, node_block_list=excluded)
    except Exception as error:  # The converter raises ValueError and RuntimeError alike.
        raise QuantizationError(f"the graph cannot be converted to float16: {error}") from error
    return strip_notes(converted)
