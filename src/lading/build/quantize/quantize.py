"""From exported graphs to the graph of every variant: int8 static and dynamic, fp16, pruned and int8."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx
from rich.console import Console
from rich.progress import Progress

from lading.build.examples import answer, batches, open_graph, spread, targets
from lading.build.quantize.calibration import BATCH_SIZE, Activation, float_activations, observe
from lading.build.quantize.recipes import convert_fp16, quantize_dynamic
from lading.build.quantize.sensitivity import fewest_excluded, rank_layers
from lading.build.quantize.static_int8 import OP_TYPES, QUANTIZED, prepare, quantizable_layers, quantize_static
from lading.build.records import BuiltVariant, read_export, write_variants
from lading.errors import QuantizationError
from lading.files import write_atomically
from lading.manifest import Precision
from lading.spec import Evaluated, Example, Quantization, Variant

SCORE_EXAMPLES = 256
"""Of the ``valid`` split, to see whether a graph is good enough. All graphs answer the same ones, so that few suffice
to tell a loss of one percent from none."""
SENSITIVITY_EXAMPLES = 32
"""To rank layers: outputs are compared, not scores, so few are enough."""
PRECISIONS: dict[str, Precision] = {"static": "int8", "dynamic": "int8-dynamic", "fp16": "fp16"}


def quantize(spec: Evaluated, exported: Path, out: Path) -> Path:
    """Make every variant's graph.

    Args:
        spec: the model; static quantization is calibrated on its ``train`` split and checked on ``valid``.
        exported: the folder that the export stage wrote.
        out: folder to write ``<variant>.onnx`` and ``variants.json`` to. A variant that cannot be built has no file,
            and its entry says why.

    Returns:
        ``out``.

    Raises:
        QuantizationError: the export folder is not complete.
    """
    files = {graph.pruning: exported / graph.file for graph in read_export(exported)}
    missing = sorted({variant.pruning for variant in spec.variants} - files.keys())
    if missing:
        raise QuantizationError(f"{exported} has no graph with pruning {missing[0]:g}: run `lading export` again")
    out.mkdir(parents=True, exist_ok=True)
    data = _Data(spec)
    sources = {share: _Source(spec, share, file, data) for share, file in files.items()}
    # Bound to the stream of now: the quantizer's prints are held back by redirecting stdout.
    console = Console(file=sys.stdout)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        variants = progress.track(spec.variants, description="building variants")
        built = [_build(sources[variant.pruning], variant, out, progress) for variant in variants]
    return write_variants(out, built)


def _build(source: _Source, variant: Variant, out: Path, progress: Progress) -> BuiltVariant:
    file = out / f"{variant.name}.onnx"
    recipe = variant.quantization
    precision: Precision = PRECISIONS[recipe.method] if recipe else "fp32"
    try:
        if recipe is None:
            write_atomically(file, source.file.read_bytes())
            return BuiltVariant(variant=variant, file=file.name, precision=source.precision)
        model, details = _apply(source, variant, recipe, progress)
        open_graph(model)
    except QuantizationError as error:
        file.unlink(missing_ok=True)
        return BuiltVariant(variant=variant, file=None, precision=precision, problem=str(error))
    write_atomically(file, model.SerializeToString(deterministic=True))
    return BuiltVariant(variant=variant, file=file.name, precision=precision, details=details)


def _apply(
    source: _Source, variant: Variant, recipe: Quantization, progress: Progress
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    if recipe.method == "dynamic":
        return quantize_dynamic(source.prepared, recipe), {}
    if recipe.method == "fp16":
        return convert_fp16(source.prepared, recipe), {}
    return _static(source, variant, recipe, progress)


def _static(
    source: _Source, variant: Variant, recipe: Quantization, progress: Progress
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Quantize all layers; only when that costs too much score, look for the layers to leave out."""
    spec, prepared = source.spec, source.prepared
    layers = quantizable_layers(prepared, recipe.exclude)
    ranges = source.ranges(recipe)
    model = quantize_static(prepared, ranges, recipe, layers=layers)
    details: dict[str, Any] = {
        "layers": len(layers),
        "calibration": recipe.calibration,
        "calibration_examples": len(source.data.calibration(recipe.calibration_examples)),
    }
    if not recipe.sensitivity_search:
        return model, details
    least = source.score - variant.max_score_drop
    score = source.score_of(model)
    details |= {"fp32_score": source.score, "score_all_layers": score, "score_examples": len(source.data.validation)}
    if score >= least or len(layers) == 1:
        return model, details
    tried = progress.track(layers, description=f"{variant.name}: sensitivity of each layer")
    some = source.data.validation[:SENSITIVITY_EXAMPLES]
    ranked = rank_layers(spec, prepared, ranges, recipe, layers=tried, examples=some)

    def without(excluded: Sequence[str]) -> onnx.ModelProto:
        kept = [layer for layer in layers if layer not in excluded]
        return quantize_static(prepared, ranges, recipe, layers=kept)

    names = [row.node for row in ranked]
    chosen = fewest_excluded(names, least, lambda excluded: source.score_of(without(excluded)))
    details |= {
        "score": chosen.score,
        "within_allowed_drop": chosen.reached,
        "excluded": list(chosen.excluded),
        "sensitivity": [row.model_dump() for row in ranked],
    }
    return without(chosen.excluded), details


class _Data:
    """The examples that quantization needs, read once."""

    def __init__(self, spec: Evaluated) -> None:
        self._spec = spec
        self._calibration: dict[int, list[Example]] = {}

    def calibration(self, count: int) -> list[Example]:
        if count not in self._calibration:
            self._calibration[count] = spread(self._spec.dataset("train"), count)
        return self._calibration[count]

    @cached_property
    def validation(self) -> list[Example]:
        return spread(self._spec.dataset("valid"), SCORE_EXAMPLES)


class _Source:
    """One exported graph, with what its variants share: shapes, calibration and the float32 score."""

    def __init__(self, spec: Evaluated, pruning: float, file: Path, data: _Data) -> None:
        self.spec, self.pruning, self.file, self.data = spec, pruning, file, data
        self._activations: dict[int, dict[str, Activation]] = {}

    @cached_property
    def prepared(self) -> onnx.ModelProto:
        return prepare(self.file)

    @cached_property
    def precision(self) -> Precision:
        """``fp32``, unless a graph from elsewhere was quantized or halved already."""
        graph = onnx.load(self.file).graph
        if any(node.op_type in QUANTIZED for node in graph.node):
            return "unknown"
        halves = onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16
        return "unknown" if any(weight.data_type in halves for weight in graph.initializer) else "fp32"

    @cached_property
    def score(self) -> float:
        return self.score_of(self.prepared)

    def score_of(self, model: onnx.ModelProto) -> float:
        examples = self.data.validation
        return float(self.spec.score(answer(open_graph(model), self.spec, examples), targets(examples)))

    def ranges(self, recipe: Quantization) -> dict[str, tuple[float, float]]:
        count = recipe.calibration_examples
        if count not in self._activations:
            feeds = batches(self.spec.inputs, self.data.calibration(count), BATCH_SIZE)
            self._activations[count] = observe(
                self.prepared,
                float_activations(self.prepared, OP_TYPES),
                feeds,
                histograms=self._needs_histograms(count),
            )
        activations = self._activations[count]
        return {name: activation.range(recipe.calibration) for name, activation in activations.items()}

    def _needs_histograms(self, count: int) -> bool:
        """Whether any variant of this graph, calibrated on so many examples, reads more than minimum and maximum."""
        recipes = [variant.quantization for variant in self.spec.variants if variant.pruning == self.pruning]
        return any(r and r.calibration != "minmax" and r.calibration_examples == count for r in recipes)
