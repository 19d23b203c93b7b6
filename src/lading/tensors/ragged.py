"""Arithmetic of ragged batches: join requests or examples into one run, and part the outputs again.

A dim with a name (``nodes``) has another size in each request. Joined, the rows lie one after another; indexes into
them are shifted, and a vector says which request owns each row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lading.errors import RequestError
from lading.spec import BATCH, Array, TensorSpec


def collate(specs: Sequence[TensorSpec], examples: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Join single requests into one batch: stack, or concatenate along ragged dims, shift indexes, fill owner vectors.

    Args:
        specs: the tensors to join.
        examples: one mapping a request, without the batch dim.

    Returns:
        Arrays by name, with the batch dim.
    """
    return {spec.name: _join(spec, specs, examples) for spec in specs}


def split(
    specs: Sequence[TensorSpec], outputs: Mapping[str, Array], counts: Sequence[Mapping[str, int]]
) -> list[dict[str, Array]]:
    """Undo :func:`collate` on a model's outputs.

    Args:
        specs: the model's outputs.
        outputs: arrays by name.
        counts: for each request the size of its ragged dims, as :func:`check_inputs` returned them.

    Returns:
        One mapping a request, without the batch dim.
    """
    parts: list[dict[str, Array]] = [{} for _ in counts]
    for spec in specs:
        array = outputs[spec.name]
        if spec.batched:
            rows: Iterable[Array] = array
        else:
            dim = str(spec.shape[spec.ragged_axis])
            ends = np.cumsum([count[dim] for count in counts])[:-1]
            rows = np.split(array, ends, axis=spec.ragged_axis)
        for part, row in zip(parts, rows, strict=True):
            part[spec.name] = np.asarray(row)
    return parts


def _join(spec: TensorSpec, specs: Sequence[TensorSpec], examples: Sequence[Mapping[str, Array]]) -> Array:
    if spec.owner_of is not None:
        counts = [_dim_size(spec.owner_of, specs, example) for example in examples]
        return np.repeat(np.arange(len(examples), dtype=np.int64), counts)
    arrays = [np.asarray(example[spec.name]) for example in examples]
    if spec.batched:
        return np.stack(arrays)
    if spec.indexes is not None:
        counts = [_dim_size(spec.indexes, specs, example) for example in examples]
        offsets = np.cumsum([0, *counts[:-1]])
        arrays = [array + offset for array, offset in zip(arrays, offsets, strict=True)]
    return np.concatenate(arrays, axis=spec.ragged_axis)


def _dim_size(dim: str, specs: Sequence[TensorSpec], example: Mapping[str, Array]) -> int:
    for spec in specs:
        if spec.owner_of is None and dim in spec.example_shape and spec.name in example:
            return int(np.asarray(example[spec.name]).shape[spec.example_shape.index(dim)])
    raise RequestError(f"no input has the dim {dim!r}")


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


Pair = tuple[dict[str, Array], dict[str, Array]]


def separate(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    given: Mapping[str, Array],
    answered: Mapping[str, Array],
) -> Iterator[Pair]:
    """Yield (inputs, outputs) of each example, without the batch dim and without owner vectors.

    Args:
        inputs: the model's.
        outputs: the model's.
        given: one request's checked inputs, batch dim included.
        answered: its outputs.
    """
    owner = next((spec for spec in inputs if spec.owner_of), None)
    owners = given[owner.name] if owner is not None else None
    rows = _row_counts(inputs, given, owners)
    of: dict[str, Any] = {"rows": rows, "owner": owner, "owners": owners}
    for row in range(rows):
        yield (
            {spec.name: _part(spec, given, row=row, **of) for spec in inputs if not spec.owner_of},
            {spec.name: _part(spec, answered, row=row, **of) for spec in outputs},
        )


def _row_counts(inputs: Sequence[TensorSpec], given: Mapping[str, Array], owners: NDArray[np.int64] | None) -> int:
    if owners is not None:
        return int(owners[-1]) + 1 if owners.size else 0
    return next((given[spec.name].shape[0] for spec in inputs if spec.batched), 1)


def _part(
    spec: TensorSpec,
    tensors: Mapping[str, Array],
    *,
    row: int,
    rows: int,
    owner: TensorSpec | None,
    owners: NDArray[np.int64] | None,
) -> Array:
    array = tensors[spec.name]
    if spec.shape[0] == BATCH:
        return np.asarray(array[row])
    if rows == 1 or owner is None or owners is None:
        return array
    axis = spec.ragged_axis
    if spec.shape[axis] == owner.owner_of:
        return np.compress(owners == row, array, axis=axis)
    if spec.indexes == owner.owner_of and array.size:
        # Whoever owns the node that an edge starts at owns the edge.
        first = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)[:, 0]
        return np.compress(owners[first] == row, array, axis=axis) - int(np.searchsorted(owners, row))
    return array
