"""What the variants of one model share: examples, and per exported graph its shapes, calibration and float32 score."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import onnx
from rich.progress import Progress

from lading.build.examples import batches, open_graph, read_example, spread, spread_indices
from lading.build.quantize.calibration import BATCH_SIZE, Activation, float_activations, observe
from lading.build.quantize.equalize import equalized
from lading.build.quantize.static_int8 import ELEMENTWISE, QUANTIZED, prepare
from lading.build.verify.drop import expected_margin, least_margin, score_drop
from lading.build.verify.scores import Answers, answer_split
from lading.errors import DataError, QuantizationError
from lading.spec import Array, Dataset, Evaluated, Example, Quantization, TensorSpec

SCORE_EXAMPLES = 256
"""Examples of ``valid`` that decide whether a graph is good enough. All graphs answer the same ones, so a few hundred
are enough to see a loss of one percent."""


class _Read(Sequence[Example]):
    """Evenly spaced examples of a data set, read anew each time."""

    def __init__(self, dataset: Dataset, count: int) -> None:
        self._dataset, self._indices = dataset, spread_indices(len(dataset), count)

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        if isinstance(index, slice):
            return [read_example(self._dataset, one) for one in self._indices[index]]
        return read_example(self._dataset, self._indices[index])


class _Batches:
    """Batches of examples that can be gone through more than once."""

    def __init__(self, inputs: Sequence[TensorSpec], examples: Sequence[Example], size: int) -> None:
        self._inputs, self._examples, self._size = inputs, examples, size

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return batches(self._inputs, self._examples, self._size)


TESTED = 2500
"""Most test examples that verify scores in its quick effort."""
FP32, INT8 = "fp32", "int8"


class Data:
    """The examples that quantization needs. Each split is read once."""

    def __init__(self, spec: Evaluated) -> None:
        self._spec = spec
        self._calibration: dict[int, Sequence[Example]] = {}

    def calibration(self, count: int) -> Sequence[Example]:
        """Return up to ``count`` examples of ``train``, each read when it is asked for: memory is that of a batch.

        Raises:
            QuantizationError: the split is empty.
        """
        if count not in self._calibration:
            self._calibration[count] = _Read(self._spec.dataset("train"), count)
        if not self._calibration[count]:
            raise QuantizationError(
                f"there are no examples to calibrate with: the split 'train' of {self._spec.name} is empty; "
                "return examples for it from dataset(), or use a method that needs no calibration"
            )
        return self._calibration[count]

    @cached_property
    def validation(self) -> list[Example]:
        """Examples of ``valid`` that graphs are scored on."""
        return spread(self._spec.dataset("valid"), SCORE_EXAMPLES)

    @cached_property
    def tested(self) -> int:
        """Number of test examples that the gate will compare scores on."""
        return min(TESTED, len(self._spec.dataset(self._spec.test_splits[0])))


@dataclass(frozen=True)
class Compared:
    """A quantized graph's score, and how far it is below that of float32."""

    score: float
    drop: float
    """On the examples of the search."""
    expected: float
    """The upper end of the drop's interval that the gate will see, if its examples lose as much as those of the search.
    The test split has another size."""
    least: float = 0.0
    """What that end would be without any loss."""

    def within(self, allowed: float) -> bool:
        """Whether the gate may be expected to pass it. Where it cannot show so small a drop, the drop itself counts."""
        return (self.drop if self.least > allowed else self.expected) <= allowed


class Source:
    """One exported graph, with what its variants share."""

    def __init__(self, spec: Evaluated, pruning: float, file: Path, data: Data, progress: Progress) -> None:
        self.spec, self.pruning, self.file = spec, pruning, file
        self.data, self.progress = data, progress
        self.made_of_equalized = False
        self._activations: dict[int, dict[str, Activation]] = {}
        self.forms: dict[Quantization, Any] = {}
        """Forms of static int8, ranked by speed, by what decides it."""

    @cached_property
    def prepared(self) -> onnx.ModelProto:
        """The float32 graph with folded constants and inferred shapes. Copy it before changing it.

        Raises:
            QuantizationError: the graph is quantized already, or ONNX Runtime cannot optimise it.
        """
        return prepare(self.file)

    @cached_property
    def equalized(self) -> Source | None:
        """The same with channels of like ranges between convolutions; ``None`` where no pair gains from it."""
        graph = equalized(self.prepared)
        if graph is None:
            return None
        other = copy.copy(self)  # the answers and the speeds are the same; ranges are not
        vars(other)["prepared"] = graph
        other._activations, other.made_of_equalized = {}, True
        return other

    @cached_property
    def precision(self) -> str:
        """``fp32``, or ``unknown`` for a graph from elsewhere that is quantized or halved already."""
        graph = onnx.load(self.file).graph
        if any(node.op_type in QUANTIZED for node in graph.node):
            return "unknown"
        halves = onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16
        return "unknown" if any(weight.data_type in halves for weight in graph.initializer) else "fp32"

    @cached_property
    def answers(self) -> Answers:
        """The float32 graph's answers to ``Data.validation``."""
        return self._answers(self.prepared, FP32)

    @cached_property
    def score(self) -> float:
        """Score of the float32 graph on ``Data.validation``."""
        return self._score(self.answers, FP32)

    def compared(self, model: onnx.ModelProto) -> Compared:
        """Score of a quantized graph on the same examples, and its distance from float32.

        Raises:
            QuantizationError: an output or the score is not finite, so there is nothing to search with.
        """
        own = self._answers(model, INT8)
        score = self._score(own, INT8)
        both = replace(own, outputs=own.outputs | self.answers.outputs)
        try:
            drop = score_drop(self.spec, both, FP32, INT8)
        except DataError:  # A score that has no interval: verify refuses the variant and says why.
            return Compared(score, self.score - score, self.score - score)
        allowance = expected_margin(drop, self.data.tested)
        return Compared(score, drop.value, drop.value + allowance, least=least_margin(drop, self.data.tested))

    def _answers(self, model: onnx.ModelProto, name: str) -> Answers:
        examples = self.data.validation
        answers = answer_split(self.spec, {name: open_graph(model)}, examples, None, lambda _: None)
        for output, array in answers.outputs[name].items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise QuantizationError(f"output {output!r} is NaN or infinite on the examples of 'valid'")
        return answers

    def _score(self, answers: Answers, name: str) -> float:
        score = float(self.spec.score(answers.outputs[name], answers.targets))
        if not math.isfinite(score):
            raise QuantizationError(f"score() returned {score} for the examples of 'valid'")
        return score

    def ranges(self, settings: Quantization) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of every activation, by tensor, on the calibration examples.

        Raises:
            QuantizationError: there are no calibration examples.
        """
        count = settings.calibration_examples
        if count not in self._activations:
            feeds = _Batches(self.spec.inputs, self.data.calibration(count), self.spec.at_most(BATCH_SIZE))
            self._activations[count] = observe(
                self.prepared,
                float_activations(self.prepared, ELEMENTWISE),
                feeds,
                histograms=self._needs_histograms(count),
            )
        activations = self._activations[count]
        return {name: activation.range(settings.calibration) for name, activation in activations.items()}

    def _needs_histograms(self, count: int) -> bool:
        """Whether any variant of this graph with this number of examples needs more than minimum and maximum."""
        quantized = [variant.quantization for variant in self.spec.variants if variant.pruning == self.pruning]
        return any(
            settings is not None and settings.calibration != "minmax" and settings.calibration_examples == count
            for settings in quantized
        )
