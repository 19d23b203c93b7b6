"""Quantization methods, one recipe each. ``RECIPES`` at the end is the only list of them.

To add a method, write its ``make`` function and add a line to ``RECIPES``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization import quantize_dynamic as ort_quantize_dynamic
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import convert_float_to_float16

from lading.build.export.cleanup import quiet, strip_notes
from lading.build.quantize.sensitivity import quantize_within_drop
from lading.build.quantize.source import Source
from lading.build.quantize.static_int8 import excluded_nodes
from lading.errors import QuantizationError
from lading.spec import Evaluated, Quantization, Variant

DYNAMIC = ("MatMul", "Gemm", "Attention", "LSTM")
"""Operators that ONNX Runtime can run with int8 weights and activations whose scale it finds on each run."""
INT4_BLOCK = 32
"""Weights that share a scale. Smaller blocks lose less and take more bytes; 32 is the block of common 4-bit formats."""
INT4_ACCURACY_LEVEL = 4
"""ONNX Runtime's name for int8 products: activations are rounded to 8 bits inside the kernel."""

Made = tuple[onnx.ModelProto, dict[str, Any]]
"""A variant's graph, and details for the report."""


@dataclass(frozen=True)
class Recipe:
    """How one quantization method makes a smaller graph, and what to expect from it."""

    precision: str
    """Name of the number format in the artifact and in reports."""
    make: Callable[[Source, Variant, Quantization], Made]
    """Makes the graph of a variant. Leaves ``Source.prepared`` as it is, and raises QuantizationError when it fails."""
    golden_tolerance: float
    """Largest difference from the golden outputs at which a server is ready, as a share of the largest golden value."""
    device: Literal["cpu", "gpu"] = "cpu"
    """What the graph is for. One for GPUs is built and measured, but never chosen."""
    needs_calibration: bool = False
    """Whether ``make`` needs examples of ``train``. An empty split is then refused before ``make`` is called."""


def recipe_of(quantization: Quantization) -> Recipe:
    """Find the recipe of a variant.

    Raises:
        QuantizationError: the method is unknown; the message lists the known ones.
    """
    try:
        return RECIPES[quantization.method]
    except KeyError:
        known = ", ".join(sorted(RECIPES))
        raise QuantizationError(
            f"there is no quantization method {quantization.method!r}; use one of: {known}"
        ) from None


def check_methods(spec: Evaluated) -> None:
    """Check the methods of all variants before anything is trained or exported.

    Raises:
        QuantizationError: a variant names an unknown method.
    """
    for variant in spec.variants:
        if variant.quantization is not None:
            recipe_of(variant.quantization)


def _dynamic_int8(source: Source, _variant: Variant, quantization: Quantization) -> Made:
    model = source.prepared
    excluded = excluded_nodes(model, quantization.exclude)
    _products(model, excluded, DYNAMIC)
    with tempfile.TemporaryDirectory() as folder, _refusing("be quantized dynamically"):
        before, after = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        onnx.save(model, before)
        ort_quantize_dynamic(
            before,
            after,
            op_types_to_quantize=list(DYNAMIC),
            per_channel=quantization.per_channel,
            reduce_range=quantization.reduce_range,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(excluded),
        )
        return strip_notes(onnx.load(after)), {}


def _int4(source: Source, _variant: Variant, quantization: Quantization) -> Made:
    """Weights of matrix products in 4 bits, with a scale and zero point per block; activations stay float32."""
    # Imported here: it takes two seconds, which every other command would wait for.
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    excluded = excluded_nodes(source.prepared, quantization.exclude)
    products = _products(source.prepared, excluded, ("MatMul", "Gemm"))
    graph = ONNXModel(_copy(source.prepared))
    with _refusing("be quantized to 4 bits"):
        # The quantizer knows MatMul only. A Gemm becomes a MatMul of this name, and an Add.
        graph.replace_gemm_with_matmul()
        quantizer = MatMulNBitsQuantizer(
            graph.model,
            block_size=INT4_BLOCK,
            accuracy_level=INT4_ACCURACY_LEVEL,
            nodes_to_exclude=[name + suffix for name in sorted(excluded) for suffix in ("", "_MatMul")],
        )
        quantizer.process()
    return strip_notes(quantizer.model.model), {"layers": len(products)}


def _fp16(source: Source, _variant: Variant, quantization: Quantization) -> Made:
    """Every number but the inputs and outputs, which keep their dtypes."""
    excluded = sorted(excluded_nodes(source.prepared, quantization.exclude))
    with _refusing("be converted to float16"):
        halved = convert_float_to_float16(_copy(source.prepared), keep_io_types=True, node_block_list=excluded)
    return strip_notes(halved), {}


def _products(model: onnx.ModelProto, excluded: Collection[str], op_types: Sequence[str]) -> list[onnx.NodeProto]:
    """Matrix products with constant weights.

    Raises:
        QuantizationError: there is none.
    """
    weights = {initializer.name for initializer in model.graph.initializer}
    found = [
        node
        for node in model.graph.node
        if node.op_type in op_types and node.name not in excluded and weights.intersection(node.input)
    ]
    if not found:
        raise QuantizationError(
            "there is nothing to quantize: outside of what is excluded, the graph has no matrix product with constant "
            f"weights ({', '.join(op_types)}); use method='static' for convolutions"
        )
    return found


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Keep ONNX Runtime quiet, and turn its exceptions into one sentence."""
    try:
        with quiet():
            yield
    except Exception as error:  # Its tools raise ValueError, KeyError, RuntimeError and AssertionError.
        raise QuantizationError(f"the graph cannot {what}: {error}") from error


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


FLOAT32_TOLERANCE = 1e-4
"""As ``Recipe.golden_tolerance``, without a recipe: float32 sums in another order, on another CPU."""
UNKNOWN_TOLERANCE = 0.1
"""As ``Recipe.golden_tolerance``, for a graph that was quantized before Lading saw it: that of int8."""
RECIPES: dict[str, Recipe] = {
    # 0.1 is a judgement, not measured across CPUs: kernels that round in another order should move a probability by a
    # few percent, and the saturation of a CPU without VNNI by more.
    "static": Recipe("int8", quantize_within_drop, golden_tolerance=0.1, needs_calibration=True),
    "dynamic": Recipe("int8-dynamic", _dynamic_int8, golden_tolerance=0.1),
    # Activations are rounded to 8 bits inside the kernel, so the tolerance is that of int8. Four layers of 1024 x 1024
    # on one core of an Intel Xeon: at batch 1 0.79 ms in float32, 0.25 in dynamic int8, 0.19 in int4; at batch 8 1.03,
    # 0.30 and 0.61.
    "int4": Recipe("int4", _int4, golden_tolerance=0.1),
    # Eleven bits of mantissa, through some dozens of layers.
    "fp16": Recipe("fp16", _fp16, golden_tolerance=0.02, device="gpu"),
}
"""Every quantization method, by the name that ``Quantization.method`` gives it."""
