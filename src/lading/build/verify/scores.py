"""Run the test splits through all variants, and compare the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lading.build.examples import join, spread_indices, targets
from lading.machine import usable_cpus
from lading.spec import Array, Dataset, Evaluated, Example, TensorSpec
from lading.tensors.ragged import collate

BATCH_SIZE = 4
"""Small, so that activations stay in the cache: with 16 an example of cards takes 1.1 times as long (AMD EPYC)."""


@dataclass(frozen=True)
class Answers:
    """The answers of every variant to one split."""

    outputs: dict[str, dict[str, Array]]
    """Arrays by variant and output name, all examples joined."""
    targets: dict[str, Array]
    examples: int


def answer_split(
    spec: Evaluated,
    sessions: Mapping[str, ort.InferenceSession],
    dataset: Dataset,
    limit: int | None,
    advance: Callable[[int], None],
) -> Answers:
    """Run up to ``limit`` examples, spread evenly over the split, through every session.

    Each batch is read once, while all sessions run the batch before in parallel. So a large split is never in memory as
    a whole.
    """
    size = len(dataset)
    indices = spread_indices(size, limit or size)
    names = [tensor.name for tensor in spec.outputs]
    parts: dict[str, list[list[Array]]] = {variant: [] for variant in sessions}
    seen: list[Example] = []
    before: dict[str, Future[list[Array]]] = {}
    with ThreadPoolExecutor(max(1, int(usable_cpus()))) as pool:
        for start in range(0, len(indices) + BATCH_SIZE, BATCH_SIZE):
            examples = [dataset[index] for index in indices[start : start + BATCH_SIZE]]
            runs: dict[str, Future[list[Array]]] = {}
            if examples:
                feed = collate(spec.inputs, [given for given, _ in examples])
                runs = {name: pool.submit(session.run, names, feed) for name, session in sessions.items()}
            for name, run in before.items():
                parts[name].append(run.result())
            before = runs
            seen.extend(({}, target) for _, target in examples)
            advance(len(examples))
    outputs = {name: join(spec.outputs, answered) for name, answered in parts.items()}
    return Answers(outputs, targets(seen), len(indices))


def confusion(
    tensor: TensorSpec, outputs: Mapping[str, Array], targets: Mapping[str, Array]
) -> tuple[tuple[int, ...], ...] | None:
    """Count true against predicted labels; ``None`` where the targets are no class indexes of this output."""
    target = targets.get(tensor.name)
    if tensor.labels is None or target is None or target.dtype.kind not in "iu" or target.ndim != 1:
        return None
    counts = confusion_counts(target, outputs[tensor.name].argmax(-1), len(tensor.labels))
    return tuple(tuple(int(count) for count in row) for row in counts)


def confusion_counts(targets: Array, predicted: Array, classes: int) -> NDArray[np.int64]:
    """Count (true, predicted) pairs.

    Args:
        targets: class indexes (n,).
        predicted: class indexes (n,).
        classes: number of classes.

    Returns:
        int64 (classes, classes), rows true.
    """
    counts = np.bincount(targets.astype(np.int64) * classes + predicted.astype(np.int64), minlength=classes * classes)
    return counts.reshape(classes, classes)
