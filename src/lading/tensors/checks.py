"""Check the arrays of a request against the tensors that a model declares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import NoReturn

import numpy as np

from lading.errors import InputNameError, InputShapeError, InputTypeError, InputValueError, RequestError
from lading.errors.sentences import shown, unknown
from lading.spec import BATCH, Array, TensorSpec
from lading.tensors.lengths import check_picture_size
from lading.tensors.padded import check_length


def check_inputs(specs: Sequence[TensorSpec], inputs: Mapping[str, Array], *, example: bool = False) -> dict[str, int]:
    """Check arrays against the inputs of a model, and return the size of every symbolic dim.

    Args:
        specs: the model's inputs.
        inputs: arrays by name.
        example: the arrays are one example, without the batch dim; optional inputs may be left out.

    Raises:
        RequestError: a missing or unknown name, a wrong dtype or shape, two sizes for one symbolic dim, a value out of
            range, not finite, an index that points outside its dim or its example, or more rows than ``max_rows``. The
            message names the tensor.
    """
    if example:
        specs = [
            spec for spec in specs if not (spec.optional and (spec.owner_of is not None or spec.name not in inputs))
        ]
    names = {spec.name for spec in specs}
    if names != inputs.keys():
        _refuse_names([spec.name for spec in specs], inputs)
    sizes: dict[str, int] = {}
    for spec in specs:
        _check_tensor(spec, inputs[spec.name], sizes, specs, example=example)
    within = False  # there are rules inside one example
    for spec in specs:
        array = inputs[spec.name]
        if spec.batched:
            if spec.padding or spec.mask_of:
                check_length(spec, array)
        else:
            within = True
        if spec.picture_dims is not None:
            check_picture_size(spec, array, example=example)
        _check_values(spec, array, sizes)
    if within:
        owners: dict[str | None, Array] = {spec.owner_of: inputs[spec.name] for spec in specs if spec.owner_of}
        for spec in specs:
            _check_examples(spec, inputs[spec.name], owners)
    return sizes


def _refuse_names(names: Sequence[str], inputs: Mapping[str, Array]) -> NoReturn:
    for name in inputs:
        if name not in names:
            raise InputNameError(unknown("input", name, names))
    missing = next(name for name in names if name not in inputs)
    raise InputNameError(f"input {missing!r} is missing; the inputs are: {', '.join(names)}")


def never_empty(specs: Sequence[TensorSpec]) -> frozenset[str | None]:
    """The dims of which a request has at least one: its examples, the rows that make an example, its padded dims, and
    those of files, such as the height of a picture.

    Any other symbolic dim may be 0, such as the edges of a graph of one node.
    """
    of_files = {dim for spec in specs if spec.content is not None for dim in spec.symbolic_dims}
    return frozenset({BATCH, *of_files, *(spec.owner_of for spec in specs), *(spec.padded_dim for spec in specs)})


def _check_tensor(
    spec: TensorSpec, array: Array, sizes: dict[str, int], specs: Sequence[TensorSpec], *, example: bool
) -> None:
    if array.dtype != spec.numpy_dtype and not (spec.dtype == "string" and array.dtype.kind == "U"):
        raise InputTypeError(f"input {spec.name!r} has dtype {array.dtype}; the model takes {spec.dtype}")
    shape = spec.example_shape if example else spec.shape
    if array.ndim != len(shape):
        raise InputShapeError(
            f"input {spec.name!r} has shape {shown(array.shape)}; the model takes {_shown(shape)}"
            f"{'' if example else advice_on_shape(spec, array.shape)}"
        )
    for size, dim in zip(array.shape, shape, strict=True):
        known = sizes.setdefault(dim, size) if isinstance(dim, str) else dim
        if size != known:
            raise InputShapeError(
                f"input {spec.name!r} has shape {shown(array.shape)}; the model takes {_shown(shape)}"
                + (f", and {dim!r} is {known} in another input" if isinstance(dim, str) else "")
                + ("" if example else advice_on_shape(spec, array.shape))
            )
        if size == 0 and dim in never_empty(specs):
            raise InputShapeError(f"input {spec.name!r} has shape {shown(array.shape)}: the dim {dim!r} is empty")


def _check_values(spec: TensorSpec, array: Array, sizes: Mapping[str, int]) -> None:
    if array.size == 0:
        return
    if spec.dtype == "string":
        _check_strings(spec, array)
        return
    if spec.minimum is None and spec.maximum is None and spec.indexes is None:
        if array.dtype.kind == "f" and not (~np.isinf(array) if spec.missing else np.isfinite(array)).all():
            raise _not_finite(spec)
        return
    if spec.missing:
        array = array[~np.isnan(array)]
        if array.size == 0:
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


def _check_strings(spec: TensorSpec, array: Array) -> None:
    for text in array.ravel().tolist():
        if type(text) is not str:
            raise InputTypeError(f"input {spec.name!r} has {shown(text)}; the model takes strings")
        # One character takes up to four bytes, so most strings need no count.
        if len(text) > spec.max_bytes // 4 and len(text.encode(errors="replace")) > spec.max_bytes:
            raise InputValueError(
                f"input {spec.name!r} has a string of {len(text)} characters; at most {spec.max_bytes} bytes in UTF-8 "
                "are accepted"
            )


def _not_finite(spec: TensorSpec) -> InputValueError:
    if spec.missing:
        return InputValueError(
            f"input {spec.name!r} has an infinite value: send finite numbers, or null for a missing one"
        )
    return InputValueError(f"input {spec.name!r} has a value that is not finite (NaN or infinity): send finite numbers")


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


_MOST_DIMS = 6  # whose orders are tried


def advice_on_shape(spec: TensorSpec, shape: Sequence[int]) -> str:
    """What to do about a shape that the input cannot have, where one change makes it fit; it begins with a colon.

    Args:
        spec: the input.
        shape: as the client sent it.

    Returns:
        Nothing where no such change is known.
    """
    sizes = list(shape)
    if fits(spec.shape, sizes) or 0 in sizes:
        return ""
    if spec.batched and fits(spec.shape[1:], sizes):
        return f": the batch dim is missing; send {shown([1, *sizes])} for one example"
    if sizes[:1] == [1] and fits(spec.shape, sizes[1:]):
        return f": there is one dim too many; send {shown(sizes[1:])}"
    if len(sizes) == len(spec.shape) <= _MOST_DIMS:
        for order in permutations(range(len(sizes))):
            if fits(spec.shape, [sizes[axis] for axis in order]):
                return f": the dims are in another order; transpose it by {shown(order)}"
    rest = [dim for dim in spec.shape[1:] if isinstance(dim, int)]
    if spec.batched and len(rest) == len(spec.shape) - 1 and rest and math.prod(sizes[1:]) == math.prod(rest):
        return f": reshape it to {shown([sizes[0], *rest])}" if len(sizes) > 1 else ""
    return ""


def fits(wanted: Sequence[int | str], shape: Sequence[int]) -> bool:
    """Whether a shape has the dims that are wanted; a symbolic one may have any size."""
    return len(shape) == len(wanted) and all(
        isinstance(dim, str) or size == dim for size, dim in zip(shape, wanted, strict=True)
    )


def _shown(shape: Sequence[int | str]) -> str:
    return "[" + ", ".join(str(dim) for dim in shape) + "]"
