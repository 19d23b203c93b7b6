"""float16 weights and arithmetic, for GPUs. ONNX Runtime computes in float32 on a CPU, so there it gains no time."""

from __future__ import annotations

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from lading.errors import QuantizationError
from lading.onnx_cleanup import strip_notes
from lading.quiet import quiet
from lading.spec import Quantization
from lading.static_int8 import excluded_nodes


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
