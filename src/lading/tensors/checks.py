"""Check the arrays of a request against the tensors that a model declares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lading.errors import InputNameError, InputShapeError, InputTypeError, InputValueError, RequestError
from lading.spec import BATCH, Array, TensorSpec


def check_inputs(specs: Sequence[TensorSpec], inputs: Mapping[str, Array], *, example: bool = False) -> dict[str, int]:
    """Check arrays against the inputs of a model, and return the size of every symbolic dim.

    Args:
        specs: the model's inputs.
        inputs: arrays by name.
        example: the arrays are one example, without the batch dim and without owner vectors.

    Raises:
        RequestError: a missing or unknown name, a wrong dtype or shape, two sizes for one symbolic dim, a value out of
            range, not finite, an index that points outside its dim or its example, or more rows than ``max_rows``. The
            message names the tensor.
    """
    wanted = [spec for spec in specs if not (example and spec.owner_of)]
    names = [spec.name for spec in wanted]
    for name in inputs:
        if name not in names:
            raise InputNameError(f"unknown input {name!r}; the inputs are: {', '.join(names)}")
    sizes: dict[str, int] = {}
    for spec in wanted:
        if spec.name not in inputs:
            raise InputNameError(f"input {spec.name!r} is missing; the inputs are: {', '.join(names)}")
        _check_tensor(spec, inputs[spec.name], sizes, example=example)
    for spec in wanted:
        _check_values(spec, inputs[spec.name], sizes)
    owners: dict[str | None, Array] = {spec.owner_of: inputs[spec.name] for spec in wanted if spec.owner_of}
    for spec in wanted:
        _check_examples(spec, inputs[spec.name], owners)
    return sizes


def _check_tensor(spec: TensorSpec, array: Array, sizes: dict[str, int], *, example: bool) -> None:
    if array.dtype != spec.numpy_dtype:
        raise InputTypeError(f"input {spec.name!r} has dtype {array.dtype}; the model takes {spec.dtype}")
    shape = spec.example_shape if example else spec.shape
    if array.ndim != len(shape):
        raise InputShapeError(f"input {spec.name!r} has shape {list(array.shape)}; the model takes {_shown(shape)}")
    for size, dim in zip(array.shape, shape, strict=True):
        known = sizes.setdefault(dim, size) if isinstance(dim, str) else dim
        if size != known:
            raise InputShapeError(
                f"input {spec.name!r} has shape {list(array.shape)}; the model takes {_shown(shape)}"
                + (f", and {dim!r} is {known} in another input" if isinstance(dim, str) else "")
            )
        if size == 0 and (dim == BATCH or spec.indexes is None):
            raise InputShapeError(f"input {spec.name!r} has shape {list(array.shape)}: the dim {dim!r} is empty")


def _check_values(spec: TensorSpec, array: Array, sizes: Mapping[str, int]) -> None:
    if array.size == 0:
        return
    if spec.minimum is None and spec.maximum is None and spec.indexes is None:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise _not_finite(spec)
        return
    low, high = np.minimum.reduce(array, axis=None), np.maximum.reduce(array, axis=None)
    # min() and max() propagate NaN, so checking these two is enough.
    if array.dtype.kind == "f" and not (math.isfinite(low) and math.isfinite(high)):
        raise _not_finite(spec)
    if spec.minimum is not None and low < spec.minimum:
        raise InputValueError(f"input {spec.name!r} has the value {low}; the least allowed is {spec.minimum:g}")
    if spec.maximum is not None and high > spec.maximum:
        raise InputValueError(f"input {spec.name!r} has the value {high}; the largest allowed is {spec.maximum:g}")
    if spec.indexes is not None and (low < 0 or high >= sizes[spec.indexes]):
        worst = low if low < 0 else high
        raise InputValueError(
            f"input {spec.name!r} has the index {worst}; {spec.indexes!r} runs from 0 to {sizes[spec.indexes] - 1}"
        )


def _not_finite(spec: TensorSpec) -> InputValueError:
    return InputValueError(f"input {spec.name!r} has a value that is not finite (NaN or infinity)")


def _check_examples(spec: TensorSpec, array: Array, owners: Mapping[str | None, Array]) -> None:
    """Check the rules inside one example. Without owners, the whole tensor is one example."""
    if spec.batched or (spec.indexes is None and spec.max_rows is None):
        return
    dim = str(spec.shape[spec.ragged_axis])
    owner = owners.get(dim)
    pointed = owners.get(spec.indexes) if spec.indexes else None
    if pointed is not None and pointed[-1] > 0 and array.size:
        belongs = np.moveaxis(pointed[array], spec.ragged_axis, 0).reshape(array.shape[spec.ragged_axis], -1)
        crossing = (belongs != belongs[:, :1]).any(axis=1)
        if crossing.any():
            raise RequestError(
                f"input {spec.name!r} joins two examples at {dim} {int(crossing.argmax())}: each may point into its "
                "own alone"
            )
        owner = belongs[:, 0] if owner is None else owner
    if spec.max_rows is None or array.shape[spec.ragged_axis] <= spec.max_rows:
        return
    most = int(np.bincount(owner).max()) if owner is not None else array.shape[spec.ragged_axis]
    if most > spec.max_rows:
        raise RequestError(f"input {spec.name!r} has {most} {dim} in one example; at most {spec.max_rows} are accepted")


def _shown(shape: Sequence[int | str]) -> str:
    return "[" + ", ".join(str(dim) for dim in shape) + "]"
