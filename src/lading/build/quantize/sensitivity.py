"""Static int8 within the allowed score drop: find the layers that lose most, and keep as few as possible in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import onnx

from lading.build.examples import answer, open_graph
from lading.build.quantize.source import Source
from lading.build.quantize.static_int8 import quantizable_layers, quantize_static
from lading.spec import Evaluated, Example, Frozen, Quantization, Variant
from lading.tensors.agreement import relative_error

SENSITIVITY_EXAMPLES = 32
"""Examples to rank layers with. The ranking compares outputs, not scores, so few are enough."""


class LayerError(Frozen):
    """One row of the sensitivity table."""

    node: str
    error: float
    """Relative error of the outputs if only this layer is quantized: RMS of the difference over RMS of fp32."""


class Chosen(Frozen):
    """How the search ended."""

    excluded: tuple[str, ...]
    """Layers left in float32, most sensitive first."""
    score: float
    """Score on the examples of the search."""
    reached: bool
    """The score is within the allowed drop."""


def quantize_within_drop(
    source: Source, variant: Variant, quantization: Quantization
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Quantize all layers. If that costs too much score, search for the layers to leave out.

    Returns:
        The graph, and for the report: calibration, scores, and the sensitivity table if there was a search.

    Raises:
        QuantizationError: there is no layer to quantize, or the quantizer refuses the graph.
    """
    spec, prepared = source.spec, source.prepared
    layers = quantizable_layers(prepared, quantization.exclude)
    ranges = source.ranges(quantization)
    model = quantize_static(prepared, ranges, quantization, layers=layers)
    details: dict[str, Any] = {
        "layers": len(layers),
        "calibration": quantization.calibration,
        "calibration_examples": len(source.data.calibration(quantization.calibration_examples)),
    }
    if not quantization.sensitivity_search:
        return model, details
    least = source.score - variant.max_score_drop
    score = source.score_of(model)
    validation = source.data.validation
    details |= {"fp32_score": source.score, "score_all_layers": score, "score_examples": len(validation)}
    if score >= least or len(layers) == 1:
        return model, details

    def without(excluded: Sequence[str]) -> onnx.ModelProto:
        kept = [layer for layer in layers if layer not in excluded]
        return quantize_static(prepared, ranges, quantization, layers=kept)

    tried = source.progress.track(layers, description=f"sensitivity of {variant.name}")
    some = validation[:SENSITIVITY_EXAMPLES]
    ranked = rank_layers(spec, prepared, ranges, quantization, layers=tried, examples=some)
    names = [row.node for row in ranked]
    chosen = fewest_excluded(names, least, lambda excluded: source.score_of(without(excluded)))
    details |= {
        "score": chosen.score,
        "within_allowed_drop": chosen.reached,
        "excluded": list(chosen.excluded),
        "sensitivity": [row.model_dump() for row in ranked],
    }
    return without(chosen.excluded), details


def rank_layers(
    spec: Evaluated,
    model: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    quantization: Quantization,
    *,
    layers: Iterable[str],
    examples: Sequence[Example],
) -> list[LayerError]:
    """Quantize one layer at a time and compare the outputs with fp32. The most sensitive layer comes first."""
    expected = answer(open_graph(model), spec, examples)
    errors = []
    for layer in layers:
        alone = quantize_static(model, ranges, quantization, layers=[layer])
        errors.append(LayerError(node=layer, error=relative_error(expected, answer(open_graph(alone), spec, examples))))
    return sorted(errors, key=lambda row: -row.error)


def fewest_excluded(ranked: Sequence[str], least: float, score: Callable[[Sequence[str]], float]) -> Chosen:
    """Find the shortest list of sensitive layers to leave out: double its length until the score suffices, then bisect.

    Args:
        ranked: layer names, most sensitive first.
        least: the score to reach.
        score: returns the score with these layers in float32. Called about 2 * log2(len(ranked)) times.

    Returns:
        The shortest list found that reaches the score; if none does, the one with the best score. At least one layer
        stays quantized: with none, the graph would be fp32.
    """
    scores: dict[int, float] = {}

    def reaches(count: int) -> bool:
        scores.setdefault(count, score(ranked[:count]))
        return scores[count] >= least

    most = len(ranked) - 1
    low, high = 0, 0
    while not reaches(high):
        if high == most:
            best = max(scores, key=lambda count: (scores[count], -count))
            return Chosen(excluded=tuple(ranked[:best]), score=scores[best], reached=False)
        low, high = high, min(most, max(1, 2 * high))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return Chosen(excluded=tuple(ranked[:high]), score=scores[high], reached=True)
