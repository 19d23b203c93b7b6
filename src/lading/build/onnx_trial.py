"""Find inputs at which a bare graph runs: rows of real examples, or else made-up ones, by trying."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort

from lading.errors import WrapError
from lading.spec import BATCH, Array, TensorSpec
from lading.tensors.agreement import max_abs_difference
from lading.tensors.padded import padded_dims
from lading.tensors.ragged import collate, separate
from lading.tensors.random import random_inputs

BATCHES = (2, 3)
"""Batch sizes to check: each row must get the same answer as in a batch of one."""
TOLERANCE = 1e-3
"""Largest difference between a row in a batch and in a batch of one, as a share of the largest value."""
SIZES = (8, 32, 224, 64, 512, 1024, 1)
"""Sizes to try for all symbolic dims but the batch: a sequence, pictures, frames of sound, and steps of a stream."""
LONE_SIZES = (1, 64, 512)
"""Sizes to try for one dim while the others are of the first size. With others of 1, all sizes are tried."""
MOST_ELEMENTS = 4_000_000
"""Elements of the largest tensor that is made up, where its sizes may be chosen."""
MOST_GIVEN = 2**28
"""Elements of the largest tensor whose sizes are given."""
LONGEST_S = 60.0
"""Seconds after which a run is stopped. A loop in a graph may never end."""


def _counting(array: Array) -> Array:
    """Integers that do not descend along the last dim, as offsets and positions do."""
    if array.dtype.kind not in "iu" or not array.ndim:
        return array
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    return np.clip(np.broadcast_to(np.arange(array.shape[-1]), array.shape), max(low, 0), high).astype(array.dtype)


STYLES: tuple[Callable[[Array], Array], ...] = (
    lambda array: array,
    lambda array: np.abs(array) + np.asarray(0.5, array.dtype) if array.dtype.kind == "f" else array,
    _counting,
    lambda array: np.minimum(array, 1) if array.dtype.kind in "iu" else array,
    lambda array: np.ones_like(array) if array.dtype != object else np.full_like(array, "1"),
    lambda array: np.zeros_like(array) if array.dtype != object else np.full_like(array, ""),
)
"""Values to try: drawn by the rules of the input, positive ones for logarithms, ascending integers for offsets, small
ones for categories and masks, and strings that are a number or empty."""


class UntriedError(WrapError):
    """A graph takes too much or too long to be tried. The sentence does not name the file."""


@dataclass(frozen=True)
class Trial:
    """Inputs at which a graph runs.

    Attributes:
        inputs: of the graph.
        sizes: of the symbolic dims but the batch, where they are made up.
        style: changes made-up values.
        real: examples by input, along the first dim; ``None``: they are made up.
    """

    inputs: tuple[TensorSpec, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)
    style: Callable[[Array], Array] = STYLES[0]
    real: Mapping[str, Array] | None = None

    def feed(self, rows: int) -> dict[str, Array]:
        """Inputs by name with ``rows`` examples each, deterministic for each number."""
        if self.real is not None:
            count = len(next(iter(self.real.values())))
            chosen = np.arange(rows) * max(1, count // rows) % count
            return {spec.name: self.real[spec.name][chosen] for spec in self.inputs}
        drawn = random_inputs(self.inputs, {**self.sizes, BATCH: rows}, np.random.default_rng(rows))
        bounds = {spec.name: (spec.minimum, spec.maximum) for spec in self.inputs}
        filled_in = {spec.name for spec in self.inputs if spec.optional}
        styled = {
            name: array if name in filled_in else np.asarray(self.style(array), array.dtype)
            for name, array in drawn.items()
        }
        return {
            name: array if bounds[name] == (None, None) else np.asarray(np.clip(array, *bounds[name]), array.dtype)
            for name, array in styled.items()
        }


def find_trial(
    session: ort.InferenceSession,
    inputs: Sequence[TensorSpec],
    real: Mapping[str, Array] | None = None,
    *,
    rows: int = BATCHES[0],
) -> Trial | str:
    """Find inputs at which the graph runs, if possible with finite outputs.

    Args:
        session: of the graph.
        inputs: of the graph.
        real: examples by input. Nothing else is tried then.
        rows: the batch size to try.

    Returns:
        The trial, or the runtime's reason why none runs.
    """
    if real is not None:
        reason = _runs(session, Trial(tuple(inputs), real=real), rows)
        return reason if isinstance(reason, str) else Trial(tuple(inputs), real=real)
    for spec in inputs:
        if (count := math.prod(dim for dim in spec.shape if isinstance(dim, int))) > MOST_GIVEN:
            raise UntriedError(
                f"input {spec.name!r} has {count:,} numbers in each example, and at most {MOST_GIVEN:,} can be sent: "
                "export it for smaller ones"
            )
    first, reason = None, "no size was tried"
    for style in STYLES:
        for sizes in _sizes(inputs) if first is None else [first.sizes]:
            trial = Trial(tuple(inputs), sizes, style)
            outcome = _runs(session, trial, rows)
            if outcome is True:
                return trial
            if outcome is False:
                first = first or trial
                break
            reason = outcome
    return first or reason


def batching_problem(session: ort.InferenceSession, trial: Trial) -> str | None:
    """Compare batches with their rows one by one.

    Returns:
        A sentence if they differ or cannot be run.
    """
    names = [node.name for node in session.get_outputs()]
    try:
        for size in BATCHES:
            feed = trial.feed(size)
            joined = run(session, feed, names)
            for row in range(size):
                alone = run(session, {name: array[row : row + 1] for name, array in feed.items()}, names)
                for name, one, all_rows in zip(names, alone, joined, strict=True):
                    if all_rows.ndim == 0 or len(all_rows) != size or len(one) != 1:
                        return f"output {name!r} has shape {list(all_rows.shape)} for a batch of {size}"
                    numbers = one if one.dtype != object else np.zeros(0)
                    finite = np.abs(numbers[np.isfinite(numbers)].astype(np.float64))
                    if not max_abs_difference(all_rows[row : row + 1], one) <= TOLERANCE * finite.max(initial=1e-6):
                        return f"output {name!r} of a row in a batch of {size} is not the same as in a batch of one"
    except UntriedError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions share no public base class.
        return _sentence(error)
    return None


def filling_problem(session: ort.InferenceSession, trial: Trial) -> str | None:
    """Compare examples of different lengths, filled up to the longest of them, with each of them alone.

    Returns:
        A sentence if they differ or cannot be run; ``None`` also for a graph of one length, which is always filled up.
    """
    padded = padded_dims(trial.inputs)
    if not padded or any(padding.buckets for padding in padded.values()):
        return None
    names = [node.name for node in session.get_outputs()]
    examples = of_other_lengths(trial.inputs, [given for given, _ in separate(trial.inputs, (), trial.feed(3), {})])
    try:
        joined = run(session, collate(trial.inputs, examples), names)
        for row, example in enumerate(examples):
            alone = run(session, collate(trial.inputs, [example]), names)
            for name, one, all_rows in zip(names, alone, joined, strict=True):
                cut = all_rows[(slice(row, row + 1), *map(slice, one.shape[1:]))]
                if one.dtype == object:
                    continue
                largest = float(np.abs(one[np.isfinite(one)].astype(np.float64)).max(initial=1e-6))
                if cut.shape != one.shape or not max_abs_difference(cut, one) <= TOLERANCE * largest:
                    return f"output {name!r} of a text changes where a longer one is in the same run"
    except Exception as error:  # ONNX Runtime's exceptions share no public base class.
        return _sentence(error)
    return None


def of_other_lengths(inputs: Sequence[TensorSpec], examples: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """The examples with padded dims cut to different lengths: the first to the shortest, the last not at all."""
    padded, cut = padded_dims(inputs), []
    for place, example in enumerate(examples, 1):
        one = dict(example)
        for spec in inputs:
            for axis, dim in enumerate(spec.example_shape):
                if dim in padded and spec.name in one:
                    size = max(1, one[spec.name].shape[axis] * place // len(examples))
                    one[spec.name] = np.asarray(one[spec.name].take(np.arange(size), axis=axis))
        cut.append(one)
    return cut


def run(session: ort.InferenceSession, feed: Mapping[str, Array], names: Sequence[str] | None = None) -> list[Array]:
    """Run a graph that may fail. The runtime prints nothing: its error says the same.

    Raises:
        UntriedError: it did not end in time.
    """
    options = ort.RunOptions()
    options.log_severity_level = 4
    late = threading.Timer(LONGEST_S, lambda: setattr(options, "terminate", True))
    late.daemon = True
    late.start()
    try:
        return list(session.run(names, dict(feed), options))
    except Exception:  # ONNX Runtime's exceptions share no public base class.
        if options.terminate:
            raise UntriedError(
                f"it does not answer {len(next(iter(feed.values())))} rows in {LONGEST_S:g} s: is there a loop without "
                "an end in it? If it is only slow, give smaller examples with --calibration"
            ) from None
        raise
    finally:
        late.cancel()


def _runs(session: ort.InferenceSession, trial: Trial, rows: int) -> bool | str:
    """Whether it runs with finite outputs, or why it does not run."""
    try:
        outputs = run(session, trial.feed(rows))
    except UntriedError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions share no public base class.
        return _sentence(error)
    return all(np.isfinite(array).all() for array in outputs if array.dtype.kind == "f")


def _sizes(inputs: Sequence[TensorSpec]) -> Iterator[dict[str, int]]:
    dims = sorted({dim for spec in inputs for dim in spec.symbolic_dims} - {BATCH})
    if not dims:
        yield {}
        return
    candidates = [dict.fromkeys(dims, size) for size in SIZES]
    if len(dims) > 1:
        candidates += [dict.fromkeys(dims, SIZES[0]) | {dim: size} for dim in dims for size in LONE_SIZES]
        candidates += [dict.fromkeys(dims, 1) | {dim: size} for dim in dims for size in SIZES]
    padded = padded_dims(inputs)
    for given in candidates:
        sizes = {
            d: padded[d].run_length(min(size, padded[d].max_length)) if d in padded else size
            for d, size in given.items()
        }
        elements = (math.prod(dim if isinstance(dim, int) else sizes.get(dim, 1) for dim in s.shape) for s in inputs)
        if max(elements) <= MOST_ELEMENTS:
            yield sizes


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
