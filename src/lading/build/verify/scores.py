"""Run the test splits through all variants, and compare the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lading.build.examples import batches, join, read_example, spread_indices, targets
from lading.machine import usable_cpus
from lading.spec import Array, Dataset, Evaluated, Example, TensorSpec
from lading.tensors.ragged import dim_size

BATCH_SIZE = 4
"""Small, so that activations stay in the cache: with 16 an example of cards takes 1.1 times as long (AMD EPYC)."""


@dataclass(frozen=True)
class Answers:
    """The answers of every variant to one split."""

    outputs: dict[str, dict[str, Array]]
    """Arrays by variant and output name, all examples joined."""
    targets: dict[str, Array]
    examples: int
    fingerprints: tuple[bytes, ...]
    """Of the inputs of each example; see :func:`fingerprint`."""
    bounds: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Where the rows of each example begin, by ragged output, and where the last ones end."""
    axes: Mapping[str, int] = field(default_factory=dict)
    """The axis along which examples are joined, by output; the first unless it is named here."""

    @cached_property
    def distinct(self) -> NDArray[np.int64]:
        """Indexes of the examples without repetitions."""
        first = dict(zip(reversed(self.fingerprints), reversed(range(self.examples)), strict=True))
        return np.array(sorted(first.values()), np.int64)

    def some(self, variant: str, indices: NDArray[np.int64]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Outputs and targets of some of the examples, as ``Evaluated.score`` takes them.

        Args:
            variant: whose outputs.
            indices: of the examples, ascending.
        """
        outputs = {}
        for name, array in self.outputs[variant].items():
            rows = indices
            if name in self.bounds:
                bounds = self.bounds[name]
                rows = np.concatenate([np.arange(bounds[index], bounds[index + 1]) for index in indices])
            outputs[name] = array.take(rows, axis=self.axes.get(name, 0))
        return outputs, {name: array[indices] for name, array in self.targets.items()}


def fingerprint(inputs: Sequence[TensorSpec], given: Mapping[str, Array]) -> bytes:
    """A digest of the inputs of one example: two examples have the same one if a model cannot tell them apart."""
    digest = blake2b(digest_size=16)
    for tensor in inputs:
        if not tensor.optional:
            array = np.ascontiguousarray(given[tensor.name])
            digest.update(f"{tensor.name} {array.dtype} {array.shape}".encode())
            digest.update(array.data if array.size else b"")
    return digest.digest()


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
    batch = spec.at_most(BATCH_SIZE)
    names = [tensor.name for tensor in spec.outputs]
    parts: dict[str, list[list[Array]]] = {variant: [] for variant in sessions}
    seen: list[Example] = []
    fingerprints: list[bytes] = []
    ragged = {tensor.name: str(tensor.shape[tensor.ragged_axis]) for tensor in spec.outputs if not tensor.batched}
    counts: dict[str, list[int]] = {name: [0] for name in ragged}
    before: list[tuple[str, Future[list[Array]]]] = []
    with ThreadPoolExecutor(max(1, int(usable_cpus()))) as pool:
        for start in range(0, len(indices) + batch, batch):
            examples = [read_example(dataset, index) for index in indices[start : start + batch]]
            feeds = list(batches(spec.inputs, examples, batch))
            started = [
                (name, pool.submit(session.run, names, feed)) for feed in feeds for name, session in sessions.items()
            ]
            for name, run in before:
                parts[name].append(run.result())
            before = started
            seen.extend(({}, target) for _, target in examples)
            for given, _ in examples:
                fingerprints.append(fingerprint(spec.inputs, given))
                for name, dim in ragged.items():
                    counts[name].append(dim_size(dim, spec.inputs, given))
            advance(len(examples))
    outputs = {name: join(spec.outputs, answered) for name, answered in parts.items()}
    bounds = {name: list(accumulate(sizes)) for name, sizes in counts.items()}
    axes = {tensor.name: tensor.ragged_axis for tensor in spec.outputs if tensor.ragged_axis}
    return Answers(outputs, targets(seen), len(indices), tuple(fingerprints), bounds, axes)


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
