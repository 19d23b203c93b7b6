"""One request's tensors taken apart into its examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lading.spec import BATCH, Array, TensorSpec

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
    rows = _rows(inputs, given, owners)
    of: dict[str, Any] = {"rows": rows, "owner": owner, "owners": owners}
    for row in range(rows):
        yield (
            {spec.name: _part(spec, given, row=row, **of) for spec in inputs if not spec.owner_of},
            {spec.name: _part(spec, answered, row=row, **of) for spec in outputs},
        )


def _rows(inputs: Sequence[TensorSpec], given: Mapping[str, Array], owners: NDArray[np.int64] | None) -> int:
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
