"""Static int8 within the allowed score drop: find the layers that lose most, and keep as few as possible in float32."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import onnx

from lading.build.examples import answer, open_graph
from lading.build.quantize.forms import TimedForm, ranked_forms
from lading.build.quantize.source import Source
from lading.build.quantize.static_int8 import FORMS, Form, quantizable_layers, quantize_static
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
    """Quantize in the fastest form that the gate may be expected to pass. If none is, equalize the channels between
    convolutions; then search for layers to leave out.

    Returns:
        The graph, and for the report: form, calibration, scores, and the sensitivity table if there was a search.

    Raises:
        QuantizationError: there is no layer to quantize, or the quantizer refuses the graph.
    """
    made = _Made(source, variant, quantization)
    ranked = made.ranked()
    details: dict[str, Any] = {
        "calibration": quantization.calibration,
        "calibration_examples": len(source.data.calibration(quantization.calibration_examples)),
        "forms": [timed.model_dump() for _, timed in ranked],
    }
    fastest = ranked[0][0]
    if not quantization.sensitivity_search:
        return made.graph(fastest), details | made.described(fastest)
    details |= {"fp32_score": source.score, "score_examples": len(source.data.validation)}
    scores: dict[_Made, float] = {}
    for made in _plain_then_equalized(source, variant, quantization):
        for form, _ in ranked:
            model = made.graph(form)
            compared = source.compared(model)
            scores.setdefault(made, compared.score)
            if compared.within(variant.max_score_drop):
                return model, details | made.described(form) | {"score_all_layers": compared.score}
    made = max(scores, key=lambda one: scores[one])
    details |= made.described(fastest) | {"score_all_layers": scores[made]}
    if len(made.layers(fastest)) == 1:
        return made.graph(fastest), details
    end = time.monotonic() + quantization.search_seconds
    table, chosen = made.search(fastest, end)
    details |= {
        "score": chosen.score,
        "within_allowed_drop": chosen.reached,
        "excluded": list(chosen.excluded),
        "sensitivity": [row.model_dump() for row in table],
        "search_ended_early": time.monotonic() >= end,
    }
    return made.graph(fastest, chosen.excluded), details


def _plain_then_equalized(source: Source, variant: Variant, quantization: Quantization) -> Iterator[_Made]:
    """The graph as it is. Where that is not enough, the same with channels of like ranges, if it differs."""
    yield _Made(source, variant, quantization)
    if source.equalized is not None:
        yield _Made(source.equalized, variant, quantization)


class _Made:
    """The static int8 graphs of one variant."""

    def __init__(self, source: Source, variant: Variant, quantization: Quantization) -> None:
        self.source, self.variant, self.quantization = source, variant, quantization
        self.ranges = source.ranges(quantization)

    def layers(self, form: Form) -> list[str]:
        return quantizable_layers(self.source.prepared, self.ranges, self.quantization.exclude, form)

    def graph(self, form: Form, excluded: Sequence[str] = ()) -> onnx.ModelProto:
        """A form, without the layers that stay in float32."""
        kept = [layer for layer in self.layers(form) if layer not in excluded]
        return quantize_static(self.source.prepared, self.ranges, self.quantization, layers=kept, form=form)

    def described(self, form: Form) -> dict[str, Any]:
        equalized = self.source.made_of_equalized
        return {"form": form.name, "layers": len(self.layers(form)), "equalized": equalized}

    def ranked(self) -> list[tuple[Form, TimedForm]]:
        """The forms by speed. It does not depend on the ranges, so all variants of a graph share what was measured."""
        leaving = {"calibration": "minmax", "calibration_examples": 1, "search_seconds": 0.0}
        same = self.quantization.model_copy(update=leaving)
        if same not in self.source.forms:
            self.source.forms[same] = ranked_forms(self.source, self.quantization, self.ranges)
        found: list[tuple[Form, TimedForm]] = self.source.forms[same]
        return found

    def search(self, form: Form, end: float) -> tuple[list[LayerError], Chosen]:
        """Rank the layers by what they cost, and leave out as few as possible.

        Args:
            form: of the graph.
            end: when to stop, by ``time.monotonic``. Half of the time is for ranking.
        """
        source, most = self.source, self.quantization.search_seconds
        layers = self.layers(form)[::-1]  # the last ones lose most in many networks: they come first if time runs out
        table = rank_layers(
            source.spec,
            source.prepared,
            self.ranges,
            self.quantization,
            layers=source.progress.track(layers, description=f"sensitivity of {self.variant.name}, up to {most:.0f} s"),
            examples=source.data.validation[:SENSITIVITY_EXAMPLES],
            form=form,
            end=(time.monotonic() + end) / 2,
        )
        ranked = [row.node for row in table]
        ranked += [layer for layer in layers if layer not in ranked]
        scores: dict[int, float] = {}

        def room(excluded: Sequence[str]) -> float:
            """0 if the gate may be expected to pass; otherwise by how much it may not."""
            compared = source.compared(self.graph(form, excluded))
            scores[len(excluded)] = compared.score
            return 0.0 if compared.within(self.variant.max_score_drop) else -abs(compared.expected)

        chosen = fewest_excluded(ranked, 0.0, room, lambda: time.monotonic() >= end)
        return table, chosen.model_copy(update={"score": scores[len(chosen.excluded)]})


def rank_layers(
    spec: Evaluated,
    model: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    quantization: Quantization,
    *,
    layers: Iterable[str],
    examples: Sequence[Example],
    form: Form = FORMS[0],
    end: float = math.inf,
) -> list[LayerError]:
    """Quantize one layer at a time and compare the outputs with fp32. The most sensitive layer comes first.

    Layers that have no turn before ``end``, by ``time.monotonic``, are left out.
    """
    expected = answer(open_graph(model), spec, examples)
    errors: list[LayerError] = []
    for layer in layers:
        if errors and time.monotonic() >= end:
            continue  # so that the progress bar ends, too
        alone = quantize_static(model, ranges, quantization, layers=[layer], form=form)
        errors.append(LayerError(node=layer, error=relative_error(expected, answer(open_graph(alone), spec, examples))))
    return sorted(errors, key=lambda row: -row.error)


def fewest_excluded(
    ranked: Sequence[str],
    least: float,
    score: Callable[[Sequence[str]], float],
    late: Callable[[], bool] = lambda: False,
) -> Chosen:
    """Find the shortest list of sensitive layers to leave out: double its length until the score suffices, then bisect.

    Args:
        ranked: layer names, most sensitive first.
        least: the score to reach.
        score: returns the score with these layers in float32. Called about 2 * log2(len(ranked)) times.
        late: whether to end with what is known.

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
        if high == most or late():
            best = max(scores, key=lambda count: (scores[count], -count))
            return Chosen(excluded=tuple(ranked[:best]), score=scores[best], reached=False)
        low, high = high, min(most, max(1, 2 * high))
    while high - low > 1 and not late():
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return Chosen(excluded=tuple(ranked[:high]), score=scores[high], reached=True)
