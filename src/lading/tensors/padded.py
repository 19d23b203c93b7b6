"""Padded dims: examples of different lengths in one rectangular array, and a mask that says what is filling.

Where decoded examples become one array, each shorter one is first filled up with :func:`~lading.content.hole`, a value
that no request can mean. :func:`fill_in` then makes the mask from the holes, and puts the padding value in their place.
So a token of a text that happens to be the padding token is still a token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from lading.content import hole, lengthened
from lading.errors import InputShapeError, InputValueError
from lading.spec import Array, Padding, TensorSpec


def padded_dims(specs: Iterable[TensorSpec]) -> dict[str, Padding]:
    """The padded dims of a model's inputs by name; empty for most models."""
    return {str(spec.padded_dim): spec.padding for spec in specs if spec.padding is not None}


def fill_in(specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Replace holes by the padding value, and make the masks and defaults that were left out.

    Args:
        specs: the model's inputs.
        arrays: by name, batch dim included, not checked yet.

    Returns:
        The arrays, with those of all masks and defaults.
    """
    complete = dict(arrays)
    masks: dict[str, Array] = {}
    sizes: dict[str, int] = {}
    for spec in specs:
        array = complete.get(spec.name)
        if array is None or array.ndim != len(spec.shape):
            continue
        sizes |= {dim: size for dim, size in zip(spec.shape, array.shape, strict=True) if isinstance(dim, str)}
        if spec.padding is not None and array.dtype == spec.numpy_dtype:
            holes: Array = np.isnan(array) if array.dtype.kind == "f" else array == hole(spec)
            if holes.any():
                complete[spec.name] = np.where(holes, spec.numpy_dtype.type(spec.padding.value), array)
            axis = spec.shape.index(str(spec.padded_dim))
            others = tuple(other for other in range(1, array.ndim) if other != axis)
            masks[str(spec.padded_dim)] = np.asarray(~holes.all(axis=others))
    for spec in specs:
        if spec.name in complete:
            continue
        if spec.mask_of in masks:
            complete[spec.name] = masks[str(spec.mask_of)].astype(spec.numpy_dtype)
        elif spec.default is not None and all(dim in sizes for dim in spec.symbolic_dims):
            shape = [dim if isinstance(dim, int) else sizes[dim] for dim in spec.shape]
            complete[spec.name] = np.full(shape, spec.default, spec.numpy_dtype)
    return complete


def check_length(spec: TensorSpec, array: Array) -> None:
    """Refuse an input that is longer than the model takes, or a mask that masks all of an example.

    Raises:
        InputShapeError: longer than ``max_length``.
        InputValueError: a mask has another value than 0 and 1, or no 1 in a row.
    """
    if spec.padding is not None:
        length = array.shape[spec.shape.index(str(spec.padded_dim)) - len(spec.shape)]
        if length > spec.padding.max_length:
            raise InputShapeError(
                f"input {spec.name!r} has {length} {spec.padded_dim}; at most {spec.padding.max_length} are accepted"
            )
    if spec.mask_of is not None and array.size:
        if ((array != 0) & (array != 1)).any():
            raise InputValueError(f"input {spec.name!r} is a mask: send 1 for what an example holds, 0 for filling")
        empty = ~(array != 0).any(axis=-1)
        if empty.any():
            raise InputValueError(
                f"input {spec.name!r} has no 1 in row {int(np.argmax(empty))}: an example holds something"
            )


def lengthen(
    specs: Sequence[TensorSpec], arrays: Mapping[str, Array], lengths: Mapping[str, int]
) -> Mapping[str, Array]:
    """Fill the padded dims up to the given lengths. Arrays that are long enough are returned as they are."""
    longer = dict(arrays)
    for spec in specs:
        for axis, dim in enumerate(spec.shape):
            if isinstance(dim, str) and lengths.get(dim, 0) > longer[spec.name].shape[axis]:
                longer[spec.name] = lengthened(longer[spec.name], axis, lengths[dim], filling(spec))
    return longer


def filling(spec: TensorSpec) -> int:
    """The value of a tensor where an example has ended."""
    return spec.padding.value if spec.padding is not None else spec.default or 0


def row_lengths(specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> dict[str, list[int]]:
    """The length of each example of one request by padded dim, where its mask tells it."""
    found: dict[str, list[int]] = {}
    for spec in specs:
        if spec.mask_of is not None and spec.name in arrays and arrays[spec.name].size:
            mask = arrays[spec.name] != 0
            # Behind the last 1: a client's own mask may have holes.
            found[spec.mask_of] = (mask.shape[1] - mask[:, ::-1].argmax(axis=1)).tolist()
    return found


def cheapest_groups(
    sizes: Sequence[tuple[int, int]], most_rows: int, seconds: Callable[[int, int], float]
) -> list[list[int]]:
    """Part requests into runs, so that all runs together take the least time.

    Filling up costs time: five tokens and five hundred in one run cost twice five hundred. In order of their length,
    the best runs are neighbours, so all ways to part them are few.

    Args:
        sizes: rows and length of each request.
        most_rows: of one run; a request with more rows than that runs alone.
        seconds: T(rows, length) of one run.

    Returns:
        Indexes of the requests in each run.
    """
    order = sorted(range(len(sizes)), key=lambda index: sizes[index][1])
    best: list[tuple[float, int]] = [(0.0, 0)]  # seconds of the first requests, and where their last run begins
    for end in range(1, len(order) + 1):
        length = sizes[order[end - 1]][1]
        found, rows = (math.inf, 0), 0
        for start in range(end - 1, -1, -1):
            rows += sizes[order[start]][0]
            if rows > most_rows and start < end - 1:
                break
            found = min(found, (best[start][0] + seconds(rows, length), start))
        best.append(found)
    groups: list[list[int]] = []
    end = len(order)
    while end:
        start = best[end][1]
        groups.append(sorted(order[start:end]))
        end = start
    return groups[::-1]
