"""Take examples from a data set, run them through a graph, and join the answers."""

from __future__ import annotations

import inspect
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from lading.errors import ArtifactError, DataError, LadingError, QuantizationError
from lading.machine import usable_cpus
from lading.predictor import open_session
from lading.spec import Array, Dataset, Evaluated, Example, TensorSpec
from lading.tensors.checks import check_inputs
from lading.tensors.lengths import Lengths
from lading.tensors.ragged import collate

BATCH_SIZE = 16


def spread(dataset: Dataset, count: int) -> list[Example]:
    """Up to ``count`` evenly spaced examples, including the first and the last. Deterministic."""
    return [read_example(dataset, index) for index in spread_indices(len(dataset), count)]


def read_example(dataset: Dataset, index: int) -> Example:
    """One example of a data set. Torch tensors in it become arrays.

    Raises:
        DataError: the user's data set fails at it.
    """
    try:
        given, wanted = dataset[index]
    except LadingError:
        raise
    except Exception as error:  # the user's code may raise anything, in the middle of a long run
        raise DataError(
            f"{place_in(type(dataset), error)}: example {index} of {len(dataset)} cannot be read: "
            f"{type(error).__name__}: {error}"
        ) from error
    return _as_arrays(given), _as_arrays(wanted)


def place_in(cls: type, error: Exception) -> str:
    """The line of a class's own file that failed, or else the name of the class."""
    try:
        file = inspect.getsourcefile(cls)
    except TypeError:  # of a class that Python has built in
        file = None
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{file}:{lines[-1]}" if lines else cls.__qualname__


def _as_arrays(part: Mapping[str, Any]) -> Mapping[str, Array]:
    # Other mappings than a dict may decode what is asked for, and hold arrays.
    if type(part) is not dict or not any(hasattr(value, "detach") for value in part.values()):
        return part
    return {name: value.detach().numpy() if hasattr(value, "detach") else value for name, value in part.items()}


def spread_indices(size: int, count: int) -> list[int]:
    """Up to ``count`` evenly spaced indexes below ``size``, including the first and the last."""
    return [int(index) for index in np.unique(np.linspace(0, size - 1, min(count, size)).round())]


def batches(
    inputs: Sequence[TensorSpec], examples: Sequence[Example], size: int = BATCH_SIZE
) -> Iterator[dict[str, Array]]:
    """Join the examples' inputs, at most ``size`` at a time; see :func:`runs`."""
    for group in runs(inputs, examples, size):
        yield collate(inputs, [given for given, _ in group])


def runs(inputs: Sequence[TensorSpec], examples: Iterable[Example], size: int = BATCH_SIZE) -> Iterator[list[Example]]:
    """Part examples into runs, in their order: at most ``size`` each, and fewer where pictures differ in size."""
    lengths = Lengths(tuple(inputs))
    rest = iter(examples)
    while group := list(islice(rest, size)):
        if not lengths.pictures:
            yield group
            continue
        start = 0
        while start < len(group):
            shapes = _picture_shapes(lengths, group[start][0])
            most = lengths.rows(check_inputs(inputs, group[start][0], example=True), size)
            end = start + 1
            while end < min(len(group), start + most) and _picture_shapes(lengths, group[end][0]) == shapes:
                end += 1
            yield group[start:end]
            start = end


def _picture_shapes(lengths: Lengths, example: Mapping[str, Array]) -> list[tuple[int, ...]]:
    return [np.shape(example[spec.name]) for spec in lengths.pictures]


def of_one_size(inputs: Sequence[TensorSpec], examples: Sequence[Example], most: int) -> list[Example]:
    """Up to ``most`` examples that share a run; those of the most frequent size, where pictures differ in size."""
    lengths = Lengths(tuple(inputs))
    if not lengths.pictures:
        return list(examples[:most])
    counted = Counter(str(_picture_shapes(lengths, given)) for given, _ in examples)
    shape = counted.most_common(1)[0][0]
    chosen = [example for example in examples if str(_picture_shapes(lengths, example[0])) == shape]
    return chosen[: lengths.rows(check_inputs(inputs, chosen[0][0], example=True), most)]


def answer(session: ort.InferenceSession, spec: Evaluated, examples: Sequence[Example]) -> dict[str, Array]:
    """Run examples in batches.

    Returns:
        Every output by name, all examples joined along the batch dim, or the ragged one.
    """
    names = [tensor.name for tensor in spec.outputs]
    parts = [session.run(names, feed) for feed in batches(spec.inputs, examples, spec.at_most(BATCH_SIZE))]
    return join(spec.outputs, parts)


def join(outputs: Sequence[TensorSpec], parts: Sequence[Sequence[Array]]) -> dict[str, Array]:
    """Join the answers to several batches, each a list in the order of ``outputs``.

    Answers of different sizes, such as of a detector, are filled up with zeros.
    """
    joined = zip(outputs, zip(*parts, strict=True), strict=True)
    return {
        tensor.name: np.concatenate(as_large(arrays, tensor.ragged_axis), tensor.ragged_axis)
        for tensor, arrays in joined
    }


def as_large(arrays: Sequence[Array], joined: int = -1) -> list[Array]:
    """The arrays with zeros behind the values of each dim but the joined one, so that all are as large."""
    if len({tuple(np.delete(array.shape, joined) if joined >= 0 else array.shape) for array in arrays}) == 1:
        return list(arrays)
    most = np.max([array.shape for array in arrays], axis=0)
    return [
        np.pad(array, [(0, 0 if axis == joined else int(most[axis]) - size) for axis, size in enumerate(array.shape)])
        for array in arrays
    ]


def targets(examples: Sequence[Example]) -> dict[str, Array]:
    """Stack the targets of examples by name, for ``Evaluated.score``; see :func:`join` for different sizes."""
    wanted: list[Mapping[str, Array]] = [target for _, target in examples]
    return {name: np.stack(as_large([np.asarray(one[name]) for one in wanted])) for name in wanted[0]}


def real_examples(spec: Evaluated, count: int) -> list[Mapping[str, Array]]:
    """Inputs of up to ``count`` examples of ``valid``, or else of ``train``; empty if there is neither."""
    for split in ("valid", "train"):
        try:
            dataset = spec.dataset(split)
            step = max(1, len(dataset) // count)
            return [read_example(dataset, index)[0] for index in range(0, len(dataset), step)[:count]]
        except (LadingError, KeyError, ValueError, FileNotFoundError):
            continue
    return []


def open_graph(model: onnx.ModelProto) -> ort.InferenceSession:
    """Open a graph on all usable CPUs.

    Raises:
        QuantizationError: ONNX Runtime has no kernel for it.
    """
    try:
        return open_session(model.SerializeToString(), threads=max(1, int(usable_cpus())))
    except ArtifactError as error:
        raise QuantizationError(str(error)) from error
