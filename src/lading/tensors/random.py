"""Made-up inputs that keep every rule of their TensorSpecs: dtype, range, indexes and owners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lading.spec import BATCH, Array, TensorSpec

_UNBOUNDED_INTEGERS = (0, 8)
"""Range of integers without limits in the spec: small enough to be a category or token of most models."""
_WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")


def random_inputs(specs: Sequence[TensorSpec], sizes: Mapping[str, int], rng: np.random.Generator) -> dict[str, Array]:
    """Draw one batch.

    Args:
        specs: the model's inputs.
        sizes: size of every symbolic dim, ``batch`` included.
        rng: where the numbers come from.

    Returns:
        Arrays by name, each with the dtype and shape of its spec, batch dim included.
    """
    owners: dict[str | None, Array] = {spec.owner_of: _owners(spec, sizes) for spec in specs if spec.owner_of}
    return {spec.name: _random_tensor(spec, sizes, owners, rng) for spec in specs}


def _owners(spec: TensorSpec, sizes: Mapping[str, int]) -> Array:
    """Owners count up from 0 and own neighbouring rows, as collate makes them."""
    rows = sizes[str(spec.shape[0])]
    return np.sort(np.arange(rows, dtype=np.int64) % max(1, sizes.get(BATCH, 1)))


def _indexes(
    spec: TensorSpec, shape: tuple[int, ...], rows: int, owner: Array | None, rng: np.random.Generator
) -> Array:
    """Indexes into a dim; all of one column point into one example."""
    if owner is None or rows == 0:
        return rng.integers(0, max(1, rows), size=shape, dtype=np.int64)
    # The example of each column, then its first row and how many it has.
    starts, counts = np.unique(owner, return_index=True, return_counts=True)[1:]
    chosen = rng.integers(0, len(starts), size=shape[spec.ragged_axis])
    along = [1] * len(shape)
    along[spec.ragged_axis] = -1
    places = rng.random(size=shape) * counts[chosen].reshape(along)
    return (starts[chosen].reshape(along) + places.astype(np.int64)).astype(np.int64)


def _random_tensor(
    spec: TensorSpec, sizes: Mapping[str, int], owners: Mapping[str | None, Array], rng: np.random.Generator
) -> Array:
    shape = tuple(dim if isinstance(dim, int) else sizes[dim] for dim in spec.shape)
    if spec.owner_of is not None:
        return owners[spec.owner_of]
    if spec.mask_of is not None or spec.default is not None:
        return np.full(shape, 1 if spec.mask_of else spec.default, spec.numpy_dtype)
    if spec.indexes is not None:
        return _indexes(spec, shape, sizes[spec.indexes], owners.get(spec.indexes), rng)
    dtype = spec.numpy_dtype
    if spec.dtype == "string":
        words = np.asarray(spec.categories or _WORDS, object)
        return np.asarray(words[rng.integers(0, len(words), size=shape)], object).reshape(shape)
    if dtype.kind == "f":
        values = rng.normal(size=shape)
        if spec.minimum is not None or spec.maximum is not None:
            low = spec.minimum if spec.minimum is not None else (spec.maximum or 0.0) - 1.0
            high = spec.maximum if spec.maximum is not None else low + 1.0
            values = rng.uniform(low, high, size=shape)
        return values.astype(dtype)
    full = {"bool": (0, 1), "uint8": (0, 255)}.get(spec.dtype, _UNBOUNDED_INTEGERS)
    low = int(np.ceil(spec.minimum)) if spec.minimum is not None else full[0]
    high = int(np.floor(spec.maximum)) if spec.maximum is not None else max(low, full[1])
    return rng.integers(low, high, size=shape, endpoint=True).astype(dtype)
