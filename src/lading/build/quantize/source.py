"""What the variants of one model share: examples, and per exported graph its shapes, calibration and float32 score."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from rich.progress import Progress

from lading.build.examples import answer, batches, open_graph, spread, targets
from lading.build.quantize.calibration import BATCH_SIZE, Activation, float_activations, observe
from lading.build.quantize.static_int8 import OP_TYPES, QUANTIZED, prepare
from lading.errors import QuantizationError
from lading.spec import Evaluated, Example, Quantization

SCORE_EXAMPLES = 256
"""Examples of ``valid`` that decide whether a graph is good enough. All graphs answer the same ones, so a few hundred
are enough to see a loss of one percent."""


class Data:
    """The examples that quantization needs. Each split is read once."""

    def __init__(self, spec: Evaluated) -> None:
        self._spec = spec
        self._calibration: dict[int, list[Example]] = {}

    def calibration(self, count: int) -> list[Example]:
        """Return up to ``count`` examples of ``train``.

        Raises:
            QuantizationError: the split is empty.
        """
        if count not in self._calibration:
            self._calibration[count] = spread(self._spec.dataset("train"), count)
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


class Source:
    """One exported graph, with what its variants share."""

    def __init__(self, spec: Evaluated, pruning: float, file: Path, data: Data, progress: Progress) -> None:
        self.spec, self.pruning, self.file = spec, pruning, file
        self.data, self.progress = data, progress
        self._activations: dict[int, dict[str, Activation]] = {}

    @cached_property
    def prepared(self) -> onnx.ModelProto:
        """The float32 graph with folded constants and inferred shapes. Copy it before changing it.

        Raises:
            QuantizationError: the graph is quantized already, or ONNX Runtime cannot optimise it.
        """
        return prepare(self.file)

    @cached_property
    def precision(self) -> str:
        """``fp32``, or ``unknown`` for a graph from elsewhere that is quantized or halved already."""
        graph = onnx.load(self.file).graph
        if any(node.op_type in QUANTIZED for node in graph.node):
            return "unknown"
        halves = onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16
        return "unknown" if any(weight.data_type in halves for weight in graph.initializer) else "fp32"

    @cached_property
    def score(self) -> float:
        """Score of the float32 graph on ``Data.validation``."""
        return self.score_of(self.prepared)

    def score_of(self, model: onnx.ModelProto) -> float:
        """Score of a quantized graph on the same examples.

        Raises:
            QuantizationError: an output or the score is not finite, so there is nothing to search with.
        """
        examples = self.data.validation
        outputs = answer(open_graph(model), self.spec, examples)
        for name, array in outputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise QuantizationError(f"output {name!r} is NaN or infinite on the examples of 'valid'")
        score = float(self.spec.score(outputs, targets(examples)))
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
            feeds = batches(self.spec.inputs, self.data.calibration(count), self.spec.at_most(BATCH_SIZE))
            self._activations[count] = observe(
                self.prepared,
                float_activations(self.prepared, OP_TYPES),
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
