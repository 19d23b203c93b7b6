"""Arithmetic of ragged batches: join requests or examples into one run, and split the outputs again.

A dim with a name (``nodes``) has another size in each request. Joined, the rows of one request follow those of the one
before. Indexes into them are shifted, and an owner vector says which example each row belongs to. A padded dim
(``tokens``) is filled up to the longest request instead; see :mod:`lading.tensors.padded`.

There is one way to join, :func:`join_requests`, and one to split, :func:`part_outputs`. The other functions turn
examples into requests and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from lading.spec import BATCH, Array, Padding, TensorSpec
from lading.tensors.lengths import Lengths
from lading.tensors.padded import cheapest_groups, fill_in, lengthen, padded_dims, row_lengths

NOTHING_PADDED: Mapping[str, Padding] = {}


@dataclass(frozen=True, slots=True)
class CheckedInputs:
    """One request's inputs, batch dim included, that passed the checks."""

    arrays: Mapping[str, Array]
    sizes: Mapping[str, int]
    """Size of every symbolic dim."""
    rows: int
    """Number of examples."""


def dim_size(dim: str | None, specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> int:
    """Size of a symbolic dim, read from the first tensor that has it.

    Args:
        dim: its name.
        specs: the tensors that may have it; optional ones are skipped, because they are filled in from this size.
        arrays: arrays by name, batch dim included. They need not be checked yet: one may be missing.

    Returns:
        The size; 0 when no array has the dim, which the check of shapes then refuses.
    """
    for spec in specs:
        if dim in spec.shape and not spec.optional:
            array = arrays.get(spec.name)
            if array is not None and array.ndim == len(spec.shape):
                return int(array.shape[spec.shape.index(dim)])
    return 0


def count_rows(specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> int:
    """Number of examples that checked inputs hold: the size of the batch dim, or the number of owners."""
    for spec in specs:
        if spec.owner_of:
            owners = arrays[spec.name]
            return int(owners[-1]) + 1 if owners.size else 0
        if spec.batched:
            return int(arrays[spec.name].shape[0])
    return 1


def collate(specs: Sequence[TensorSpec], examples: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Join examples into one batch: stack, or concatenate along ragged dims, shift indexes, fill owner vectors.

    Args:
        specs: the tensors to join.
        examples: arrays by name, without the batch dim and without owner vectors.

    Returns:
        New arrays by name, with the batch dim, in the order of ``specs``.
    """
    joined = join_requests(specs, [_request(specs, example) for example in examples])
    if len(examples) == 1:
        # join_requests does not copy one request. A batch must be a copy: torch refuses read-only arrays of a data set.
        joined = {name: array.copy() for name, array in joined.items()}
    return {spec.name: joined[spec.name] for spec in specs}


def _request(specs: Sequence[TensorSpec], example: Mapping[str, Array]) -> CheckedInputs:
    """Make one example a request of one row."""
    arrays: dict[str, Array] = {}
    # Fixed dims get in as well. They do no harm, and leaving them out takes longer.
    sizes: dict[Any, int] = {}
    for spec in specs:
        if not spec.optional or spec.name in example:
            array = np.asarray(example[spec.name])
            arrays[spec.name] = array = array[None] if spec.batched else array
            sizes.update(zip(spec.shape, array.shape, strict=False))
    for spec in specs:
        if spec.owner_of:
            arrays[spec.name] = np.zeros(sizes[spec.owner_of], np.int64)
    if len(arrays) < len(specs):
        arrays = fill_in(specs, arrays)
    return CheckedInputs(arrays, sizes, 1)


def split(
    specs: Sequence[TensorSpec],
    outputs: Mapping[str, Array],
    counts: Sequence[Mapping[str, int]],
    padded: Mapping[str, Padding] = NOTHING_PADDED,
) -> list[dict[str, Array]]:
    """Undo :func:`collate` on a model's outputs.

    Args:
        specs: the model's outputs.
        outputs: arrays by name.
        counts: for each example the size of its ragged and padded dims, as ``check_inputs`` returned them.
        padded: the padded dims of the model's inputs.

    Returns:
        One mapping per example, without the batch dim.
    """
    parts = part_outputs(specs, outputs, [CheckedInputs({}, sizes, 1) for sizes in counts], padded)
    return [_without_batch(specs, part) for part in parts]


def _without_batch(specs: Sequence[TensorSpec], part: Mapping[str, Array]) -> dict[str, Array]:
    return {spec.name: np.asarray(part[spec.name][0] if spec.batched else part[spec.name]) for spec in specs}


def joinable(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bool:
    """Whether requests can share a run: every output must have a dim along which it can be split again."""
    ragged = {dim for spec in inputs if not spec.batched for dim in spec.symbolic_dims}
    owned = {spec.owner_of for spec in inputs if spec.owner_of}
    # A ragged model without owners cannot tell one request's nodes from another's.
    tells_apart = not ragged or bool(owned)
    known = {BATCH, *ragged}
    return tells_apart and all(spec.shape[spec.ragged_axis] in known for spec in outputs)


def bound_dims(specs: Sequence[TensorSpec], padded: Mapping[str, Padding]) -> tuple[str, ...]:
    """The symbolic dims in which requests that share a run agree: all but padded ones and those along which tensors are
    joined."""
    found = (
        dim
        for spec in specs
        for axis, dim in enumerate(spec.shape)
        if isinstance(dim, str) and axis != spec.ragged_axis and dim not in padded
    )
    return tuple(dict.fromkeys(found))


def group_requests(
    specs: Sequence[TensorSpec],
    requests: Sequence[CheckedInputs],
    most_rows: int,
    seconds: Callable[[int, int], float],
) -> list[list[int]]:
    """Group requests: each group has shapes that can be joined, and at most ``most_rows`` rows.

    A request with more rows than that is a group of its own. Where the length of examples differs, requests share a run
    where that takes less time than two runs, and pictures of any size as far as a run has room for their pixels.

    Args:
        specs: the model's inputs.
        requests: checked.
        most_rows: of one group.
        seconds: T(rows, length) of one run; asked where examples differ in length.

    Returns:
        Indexes of the requests in each group, ascending; the groups in the order of the first request of each shape.
    """
    lengths = Lengths(tuple(specs))
    bound = bound_dims(specs, lengths.padded)
    shapes: dict[tuple[int | None, ...], list[int]] = {}
    for index, inputs in enumerate(requests):
        shapes.setdefault(tuple([inputs.sizes.get(dim) for dim in bound]), []).append(index)
    runs: list[list[int]] = []
    for alike in shapes.values():
        if not lengths:
            runs += _filled(requests, alike, most_rows)
            continue
        most = lengths.rows(requests[alike[0]].sizes, most_rows)
        sizes = [(requests[index].rows, lengths.of(requests[index].sizes) or 0) for index in alike]
        runs += [[alike[place] for place in run] for run in cheapest_groups(sizes, most, seconds)]
    return runs


def _filled(requests: Sequence[CheckedInputs], alike: Sequence[int], most_rows: int) -> list[list[int]]:
    """Requests in their order, as many in each run as have room."""
    runs: list[list[int]] = []
    rows = 0
    for index in alike:
        if runs and rows + requests[index].rows <= most_rows:
            runs[-1].append(index)
            rows += requests[index].rows
        else:
            runs.append([index])
            rows = requests[index].rows
    return runs


def join_requests(specs: Sequence[TensorSpec], requests: Sequence[CheckedInputs]) -> Mapping[str, Array]:
    """Concatenate requests along their batch or ragged dims, shift indexes, and number the owners through.

    A padded dim is filled up to the longest request, or to the bucket of that. A single request without buckets is
    returned as it is, without a copy.
    """
    given: Sequence[Mapping[str, Array]] = [request.arrays for request in requests]
    padded = padded_dims(specs)
    if padded:
        lengths = {
            dim: padding.run_length(max(request.sizes[dim] for request in requests)) for dim, padding in padded.items()
        }
        given = [lengthen(specs, arrays, lengths) for arrays in given]
    if len(requests) == 1:
        return given[0]
    joined: dict[str, Array] = {}
    for spec in specs:
        arrays = [one[spec.name] for one in given]
        axis = spec.ragged_axis
        whole = np.concatenate(arrays, axis=axis)
        if spec.owner_of is not None or spec.indexes is not None:
            counts = [request.rows if spec.owner_of else request.sizes[str(spec.indexes)] for request in requests]
            shift = np.repeat(_bounds(counts)[:-1], [array.shape[axis] for array in arrays])
            whole += shift.reshape(-1, *[1] * (whole.ndim - axis - 1))
        joined[spec.name] = whole
    return joined


def part_outputs(
    specs: Sequence[TensorSpec],
    outputs: Mapping[str, Array],
    requests: Sequence[CheckedInputs],
    padded: Mapping[str, Padding] = NOTHING_PADDED,
) -> list[dict[str, Array]]:
    """Undo :func:`join_requests` on a model's outputs: views of each request's own rows, in order.

    Args:
        specs: the model's outputs.
        outputs: arrays by name.
        requests: that were joined.
        padded: the padded dims of the model's inputs; outputs that have them are cut back.
    """
    if len(requests) == 1:
        return [_cut(specs, outputs, requests[0].sizes, padded)]
    parts: list[dict[str, Array]] = [{} for _ in requests]
    bounds: dict[int | str, list[int]] = {}
    for spec in specs:
        axis, array = spec.ragged_axis, outputs[spec.name]
        dim = spec.shape[axis]
        if dim not in bounds:
            counts = [request.rows if dim == BATCH else request.sizes[str(dim)] for request in requests]
            bounds[dim] = _bounds(counts)
        before = (slice(None),) * axis
        for part, begin, end in zip(parts, bounds[dim], bounds[dim][1:], strict=False):
            part[spec.name] = array[(*before, slice(begin, end))]
    if padded:
        parts = [_cut(specs, part, request.sizes, padded) for part, request in zip(parts, requests, strict=True)]
    return parts


def _cut(
    specs: Sequence[TensorSpec], arrays: Mapping[str, Array], sizes: Mapping[str, int], padded: Mapping[str, Padding]
) -> dict[str, Array]:
    """Views of the arrays without the filling of padded dims."""
    cut = dict(arrays)
    for spec in specs if padded else ():
        if spec.name in cut and not padded.keys().isdisjoint(spec.shape):
            within = [slice(sizes[dim]) if dim in padded and dim in sizes else slice(None) for dim in spec.shape]  # type: ignore[index]
            cut[spec.name] = cut[spec.name][tuple(within)]
    return cut


def _bounds(counts: Sequence[int]) -> list[int]:
    """Where each of several runs of rows begins, and where the last ends."""
    return [0, *accumulate(counts)]


def separate(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    given: Mapping[str, Array],
    answered: Mapping[str, Array],
) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """Yield (inputs, outputs) of each example of one request, without the batch dim and without optional inputs.

    Args:
        inputs: the model's.
        outputs: the model's.
        given: the request's checked inputs, batch dim included.
        answered: its outputs.
    """
    rows = count_rows(inputs, given)
    kept = [spec for spec in inputs if not spec.optional]
    padded = padded_dims(inputs)
    lengths = row_lengths(inputs, given)
    if rows == 1:
        sizes = {dim: length for dim, (length, *_) in lengths.items()}
        yield (
            _without_batch(kept, _cut(kept, given, sizes, padded)),
            _without_batch(outputs, _cut(outputs, answered, sizes, padded)),
        )
        return
    owners = _row_owners(inputs, given)
    ordered = {spec.name: _by_owner(spec, given[spec.name], owners) for spec in kept}
    counts = {dim: np.bincount(owner, minlength=rows).tolist() for dim, owner in owners.items()}
    of_rows = counts | lengths
    examples = [CheckedInputs({}, {dim: count[row] for dim, count in of_rows.items()}, 1) for row in range(rows)]
    parts = zip(_parts(kept, ordered, examples, padded), _parts(outputs, answered, examples, padded), strict=True)
    first: dict[str | None, int] = dict.fromkeys(counts, 0)
    for example, (own_inputs, own_outputs) in zip(examples, parts, strict=True):
        one = _without_batch(kept, own_inputs)
        for spec in kept:
            if spec.indexes in counts:
                one[spec.name] = one[spec.name] - first[spec.indexes]
        yield one, _without_batch(outputs, own_outputs)
        for dim in counts:
            first[dim] += example.sizes[dim]


def _parts(
    specs: Sequence[TensorSpec],
    arrays: Mapping[str, Array],
    examples: Sequence[CheckedInputs],
    padded: Mapping[str, Padding],
) -> list[dict[str, Array]]:
    """Split by example. Each gets the whole of a ragged tensor without owners."""
    known = {BATCH, *examples[0].sizes} if examples else set()
    owned = [spec for spec in specs if spec.symbolic_dims[0] in known]
    whole = {spec.name: arrays[spec.name] for spec in specs if spec not in owned}
    return [whole | part for part in part_outputs(owned, arrays, examples, padded)]


def _row_owners(inputs: Sequence[TensorSpec], given: Mapping[str, Array]) -> dict[str, Array]:
    """For each ragged dim, the example that each of its rows belongs to."""
    owners = {spec.owner_of: given[spec.name] for spec in inputs if spec.owner_of}
    found: dict[str, Array] = {str(dim): owner for dim, owner in owners.items()}
    for spec in inputs:
        if spec.indexes in owners and not spec.batched:
            # An edge belongs to the example of the node where it starts; checks refuse an edge between two examples.
            starts = np.moveaxis(given[spec.name], spec.ragged_axis, 0)
            while starts.ndim > 1:
                starts = starts[:, 0]
            found[str(spec.shape[spec.ragged_axis])] = owners[spec.indexes][starts]
    return found


def _by_owner(spec: TensorSpec, array: Array, owners: Mapping[str, Array]) -> Array:
    """The rows of a ragged tensor in the order of the examples. Edges may come in any order."""
    owner = None if spec.batched else owners.get(str(spec.shape[spec.ragged_axis]))
    if owner is None or not (owner[1:] < owner[:-1]).any():
        return array
    return np.take(array, np.argsort(owner, kind="stable"), axis=spec.ragged_axis)
