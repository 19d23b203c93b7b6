"""Requests joined into one run of the model, and its outputs parted again, each to whom it belongs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from lading.spec import BATCH, Array, TensorSpec


@dataclass(frozen=True, slots=True)
class CheckedInputs:
    """One request's inputs, batch dim included, that passed the checks."""

    arrays: Mapping[str, Array]
    sizes: Mapping[str, int]
    """Of every symbolic dim."""
    rows: int
    """Examples in it."""


def count_rows(specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> int:
    """How many examples checked inputs hold: the size of the batch dim, or how many owners are named."""
    for spec in specs:
        if spec.owner_of:
            return int(arrays[spec.name][-1]) + 1
        if spec.batched:
            return int(arrays[spec.name].shape[0])
    return 1


def joinable(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bool:
    """Whether requests can share a run: every output must say along which dim it is parted again."""
    ragged = {dim for spec in inputs if not spec.batched for dim in spec.symbolic_dims}
    owned = {spec.owner_of for spec in inputs if spec.owner_of}
    # A ragged model without owners cannot tell one request's nodes from another's.
    tells_apart = not ragged or bool(owned)
    known = {BATCH, *ragged}
    return tells_apart and all(spec.shape[spec.ragged_axis] in known for spec in outputs)


def same_shapes(specs: Sequence[TensorSpec], one: CheckedInputs, other: CheckedInputs) -> bool:
    """Whether two requests agree in every symbolic dim but the one along which each tensor is joined."""
    for spec in specs:
        for axis, dim in enumerate(spec.shape):
            if isinstance(dim, str) and axis != spec.ragged_axis and one.sizes.get(dim) != other.sizes.get(dim):
                return False
    return True


def group_requests(specs: Sequence[TensorSpec], requests: Sequence[CheckedInputs], most_rows: int) -> list[slice]:
    """Part requests, in order, so that each group has shapes that can be joined, and no more rows than a batch may."""
    groups: list[slice] = []
    rows = 0
    for index, inputs in enumerate(requests):
        first = requests[groups[-1].start] if groups else None
        if first is not None and rows + inputs.rows <= most_rows and same_shapes(specs, first, inputs):
            groups[-1] = slice(groups[-1].start, index + 1)
            rows += inputs.rows
        else:
            groups.append(slice(index, index + 1))
            rows = inputs.rows
    return groups


def join_requests(specs: Sequence[TensorSpec], requests: Sequence[CheckedInputs]) -> Mapping[str, Array]:
    """Concatenate requests along their batch or ragged dims, shift indexes, and count owners on.

    A single request is handed on as it is, without a copy.
    """
    if len(requests) == 1:
        return requests[0].arrays
    joined: dict[str, Array] = {}
    for spec in specs:
        arrays = [request.arrays[spec.name] for request in requests]
        axis = spec.ragged_axis
        whole = np.concatenate(arrays, axis=axis)
        if spec.owner_of is not None or spec.indexes is not None:
            counts = [request.rows if spec.owner_of else request.sizes[str(spec.indexes)] for request in requests]
            shift = np.repeat(_bounds(counts)[:-1], [array.shape[axis] for array in arrays])
            whole += shift.reshape(-1, *[1] * (whole.ndim - axis - 1))
        joined[spec.name] = whole
    return joined


def part_outputs(
    specs: Sequence[TensorSpec], outputs: Mapping[str, Array], requests: Sequence[CheckedInputs]
) -> list[dict[str, Array]]:
    """Undo :func:`join_requests` on a model's outputs: views of each request's own rows, in order."""
    if len(requests) == 1:
        return [dict(outputs)]
    parts: list[dict[str, Array]] = [{} for _ in requests]
    bounds: dict[int | str, list[int]] = {}
    for spec in specs:
        axis, array = spec.ragged_axis, outputs[spec.name]
        dim = spec.shape[axis]
        if dim not in bounds:
            bounds[dim] = _bounds([request.rows if dim == BATCH else request.sizes[str(dim)] for request in requests])
        before = (slice(None),) * axis
        for part, begin, end in zip(parts, bounds[dim], bounds[dim][1:], strict=False):
            part[spec.name] = array[(*before, slice(begin, end))]
    return parts


def _bounds(counts: Sequence[int]) -> list[int]:
    """Where each of several runs of rows begins, and where the last ends."""
    return [0, *accumulate(counts)]
