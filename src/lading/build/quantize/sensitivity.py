"""Which layers lose most when they are quantized, and how few of them must stay in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import onnx

from lading.build.examples import answer, open_graph
from lading.build.quantize.static_int8 import quantize_static
from lading.spec import Evaluated, Example, Frozen, Quantization
from lading.tensors.agreement import relative_error


class LayerError(Frozen):
    """One row of the sensitivity table."""

    node: str
    error: float
    """Root mean square difference of the outputs, over that of fp32, when this layer alone is quantized."""


class Chosen(Frozen):
    """How the search ended."""

    excluded: tuple[str, ...]
    """Layers left in float32, most sensitive first."""
    score: float
    """On the search's own examples."""
    reached: bool
    """The score is within the allowed drop."""


def rank_layers(
    spec: Evaluated,
    model: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    recipe: Quantization,
    *,
    layers: Iterable[str],
    examples: Sequence[Example],
) -> list[LayerError]:
    """Quantize each layer alone and compare the outputs with fp32's; the most sensitive layer first."""
    expected = answer(open_graph(model), spec, examples)
    errors = []
    for layer in layers:
        alone = quantize_static(model, ranges, recipe, layers=[layer])
        errors.append(LayerError(node=layer, error=relative_error(expected, answer(open_graph(alone), spec, examples))))
    return sorted(errors, key=lambda row: -row.error)


def fewest_excluded(ranked: Sequence[str], least: float, score: Callable[[Sequence[str]], float]) -> Chosen:
    """Leave out the most sensitive layers, doubling their number until the score suffices, then halving the step.

    Args:
        ranked: layer names, most sensitive first.
        least: the score to reach.
        score: of the graph with these layers in float32; called about 2 * log2(len(ranked)) times.

    Returns:
        The shortest list found that reaches the score; when none does, the one with the best score. At least one layer
        is always quantized: with none the graph is fp32.
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
