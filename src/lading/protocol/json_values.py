"""JSON to arrays, exactly: a number that would change its value on the way into the tensor is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from lading.answers import View
from lading.budget import Budget
from lading.content import content_of, decode_rows, hole
from lading.errors import (
    InputNameError,
    InputShapeError,
    InputTypeError,
    InputValueError,
    UnanswerableError,
)
from lading.errors.sentences import meant, shown, unknown
from lading.protocol.base64_files import from_base64
from lading.protocol.json_advice import advice_on, advice_on_name, first_shape
from lading.protocol.json_body import KINDS
from lading.protocol.photo_places import Views
from lading.spec import Array, TensorSpec
from lading.tensors.checks import advice_on_shape
from lading.tensors.padded import fill_in
from lading.tensors.ragged import dim_size

_SHOWN_CATEGORIES = 8
_EXACT = 2**53  # every integer up to this is a float64 of its own
_LARGEST = {np.dtype(kind).itemsize: float(np.finfo(kind).max) for kind in (np.float16, np.float32, np.float64)}
_LISTS, _BOOLS, _NUMBERS = frozenset({list}), frozenset({bool}), frozenset({int, float})
_STRINGS = frozenset({str})
_FILES = frozenset({str, bytes})
_NUMBERS_OR_NULL = _NUMBERS | {type(None)}


def read_inputs(
    specs: Sequence[TensorSpec],
    content: Mapping[str, Any],
    *,
    max_batch: int,
    budget: Budget,
    views: Views | None = None,
) -> dict[str, Array]:
    """Turn a JSON object into a model's inputs, batch dim included.

    Encoded content may be a base64 string (one file) or a list of them (a batch), and a text a string. An owner vector
    may be left out when the object holds a single example, and other optional inputs always.

    Args:
        specs: the model's inputs.
        content: values by input name or alias; a file of a form is its bytes.
        max_batch: most rows along ``batch``.
        budget: what reading it may cost.
        views: gets what of each encoded file the inputs show.

    Raises:
        RequestError: a missing or unknown name, a ragged list, a value that the dtype cannot hold, or more examples
            than ``max_batch``.
        BodyTooLargeError: a picture of too many pixels.
    """
    names = [spec.name for spec in specs if not spec.optional]
    aliases = {spec.alias: spec.name for spec in specs if spec.alias is not None and spec.name not in content}
    if aliases:
        content = {aliases.get(name, name): value for name, value in content.items()}
    for name in content:
        if name not in names:
            _refuse_unknown(specs, names, name, content[name])
    arrays: dict[str, Array] = {}
    for spec in specs:
        if spec.name in content:
            if spec.columns and any(column.name in content for column in spec.columns):
                raise InputNameError(f"input {spec.name!r} is sent whole and as columns: send one of them")
            seen = None if views is None else views.setdefault(spec.name, [])
            arrays[spec.name] = _read_tensor(spec, content[spec.name], max_batch=max_batch, budget=budget, views=seen)
        elif spec.columns and any(column.name in content for column in spec.columns):
            arrays[spec.name] = _read_columns(spec, content, max_batch)
        elif not spec.optional:
            raise InputNameError(f"input {spec.name!r} is missing; the inputs are: {', '.join(names)}")
    return with_optional(specs, arrays, max_batch)


def _refuse_unknown(specs: Sequence[TensorSpec], names: Sequence[str], name: str, value: Any) -> None:
    columns = {column.name for spec in specs for column in spec.columns}
    if name not in columns and not any(spec.name == name for spec in specs):
        raise InputNameError(
            f"{unknown('input', name, [*names, *sorted(columns)])}{advice_on_name(name, value, list(names))}"
        )


def with_optional(specs: Sequence[TensorSpec], arrays: Mapping[str, Array], max_batch: int) -> dict[str, Array]:
    """Fill in owner vectors, masks and defaults that were left out.

    Raises:
        RequestError: see :func:`owners`.
    """
    complete = dict(arrays)
    for spec in specs:
        if spec.owner_of:
            complete[spec.name] = owners(spec, specs, complete, max_batch)
        elif spec.padding is not None:
            complete = fill_in(specs, complete)
    return complete


def refuse_not_finite(outputs: Mapping[str, Array]) -> None:
    """Refuse outputs for which JSON has no number.

    Raises:
        UnanswerableError: a value is NaN or infinite.
    """
    for name, array in outputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise not_finite(name)


def not_finite(name: str) -> UnanswerableError:
    """What is answered when an output holds a value that JSON has no number for."""
    return UnanswerableError(
        f"the model's answer to these inputs is not finite (NaN or infinity in {name!r}): "
        "are they in the range that it was trained on?"
    )


def parse_tensor(spec: TensorSpec, value: Any) -> Array:
    """Turn nested lists into an array of the spec's dtype and number of dims.

    Raises:
        RequestError: lists nested too little or too much, of different lengths, or a value of another type or range.
    """
    level: list[Any] = [value]
    shape: tuple[int, ...] = ()
    for axis, dim in enumerate(spec.shape):
        types = set(map(type, level))
        if types - _LISTS:
            if dim == 1 and axis == len(spec.shape) - 1 <= 1 and types and not types & _LISTS:
                # A column of one value per row, without a list around each.
                return flat_to_array(spec, level, shape)[..., None]
            wanted = f"{len(spec.shape)} nested lists, of shape {_shown_shape(spec)}"
            raise _other_type(spec, level, _LISTS, shape, f"{wanted}{advice_on_shape(spec, first_shape(value))}")
        lengths = set(map(len, level))
        if len(lengths) > 1:
            raise InputShapeError(_ragged(spec, level, shape))
        shape = (*shape, lengths.pop() if lengths else _fixed(dim))
        level = list(chain.from_iterable(level))
    if level and type(level[0]) is list and set(map(type, level)) == _LISTS:
        wanted = f"{_scalars(spec)}{advice_on_shape(spec, first_shape(value))}"
        raise _other_type(spec, level, _BOOLS | _NUMBERS, shape, wanted)
    return flat_to_array(spec, level, shape)


def flat_to_array(spec: TensorSpec, values: list[Any], shape: tuple[int, ...]) -> Array:
    """Turn as many scalars as the shape holds into an array of the spec's dtype.

    Raises:
        RequestError: a value of another type or range.
    """
    if spec.dtype == "string":
        if set(map(type, values)) - _STRINGS:
            raise _other_type(spec, values, _STRINGS, shape, _scalars(spec))
        texts = np.empty(len(values), object)
        texts[:] = values
        return texts.reshape(shape)
    if spec.codes is not None:
        values = _coded(spec, spec.codes, values, shape)
    allowed = _BOOLS if spec.dtype == "bool" else _NUMBERS_OR_NULL if spec.missing else _NUMBERS
    types = set(map(type, values))
    if types - allowed:
        raise _other_type(spec, values, allowed, shape, _scalars(spec))
    if float in types and spec.numpy_dtype.kind in "iu":
        values = _whole(spec, values, shape)
    return _to_array(spec, values).reshape(shape)


def _coded(spec: TensorSpec, codes: Mapping[str, int], values: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Replace the names of categories, and null for a missing one, by codes.

    Raises:
        InputValueError: an unknown name, where the spec has no code for it; the sentence has the nearest one.
    """
    if not {str, type(None)} & set(map(type, values)):
        return values
    found = []
    for index, value in enumerate(values):
        code = value
        if isinstance(value, str):
            code = codes.get(value, spec.unknown)
            if code is None:
                names = [*codes]
                more = ", ..." if len(names) > _SHOWN_CATEGORIES else ""
                raise InputValueError(
                    f"input {spec.name!r}{_path(index, shape)} is {shown(value)}, which is no category of it"
                    f"{meant(value, names)} its categories are: {', '.join(names[:_SHOWN_CATEGORIES])}{more}"
                )
        elif value is None and spec.missing:
            code = spec.unknown
        found.append(code)
    return found


def _read_columns(spec: TensorSpec, content: Mapping[str, Any], max_batch: int) -> Array:
    """Join the columns that make one tensor."""
    columns = []
    for column in spec.columns:
        if column.name not in content:
            names = ", ".join(one.name for one in spec.columns)
            raise InputNameError(f"column {column.name!r} is missing; the columns of {spec.name!r} are: {names}")
        value = content[column.name]
        if isinstance(value, list) and len(value) > max_batch:
            refuse_too_many(column, len(value), max_batch)
        columns.append(parse_tensor(column, value))
    for column, array in zip(spec.columns, columns, strict=True):
        if len(array) != len(columns[0]):
            raise InputShapeError(
                f"column {column.name!r} has {len(array)} values, and {spec.columns[0].name!r} has {len(columns[0])}"
            )
    return np.stack(columns, axis=1)


def _read_tensor(
    spec: TensorSpec, value: Any, *, max_batch: int, budget: Budget, views: list[View | None] | None
) -> Array:
    if spec.content is not None and isinstance(value, str):
        value = [value]
    if isinstance(value, list) and (spec.batched or spec.content is not None) and len(value) > max_batch:
        advice = "" if isinstance(value[0], str) else advice_on_shape(spec, first_shape(value))
        refuse_too_many(spec, len(value), max_batch, advice)
    if spec.content is not None and isinstance(value, list) and value and set(map(type, value)) <= _FILES:
        files = (one if type(one) is bytes else from_base64(spec, row, one) for row, one in enumerate(value))
        return decode_rows(spec, files, budget, views)
    if spec.content is not None and (content := content_of(spec)) is not None and content.textual:
        _refuse_no_text(spec, value)
    return parse_tensor(spec, value if spec.padding is None else _with_holes(spec, value))


def _refuse_no_text(spec: TensorSpec, value: Any) -> None:
    """Refuse what is neither a text nor lists of numbers.

    Raises:
        InputShapeError: says what it is.
    """
    place, found = "", value
    if isinstance(value, list):
        index = next((index for index, item in enumerate(value) if type(item) not in (str, list)), 0)
        place, found = f"[{index}]" if value else "", value[index] if value else value
    if not isinstance(found, list) or not value:
        what = "empty" if value == [] else KINDS[type(found)]
        raise InputShapeError(f"input {spec.name!r}{place} is {what}: send a text as a string, or a list of them")


def _with_holes(spec: TensorSpec, value: Any) -> Any:
    """Lists of integers of a padded dim made equally long. Whatever else is wrong with them is left to be refused."""
    if spec.padding is None or spec.numpy_dtype.kind == "f" or len(spec.shape) != 2 or not isinstance(value, list):
        return value
    if set(map(type, value)) != _LISTS:
        return value
    lengths = set(map(len, value))
    longest = max(lengths)
    if len(lengths) == 1 or 0 in lengths or longest > spec.padding.max_length:
        return value
    return [row + [hole(spec)] * (longest - len(row)) for row in value]


def refuse_too_many(spec: TensorSpec, count: int, max_batch: int, advice: str = "") -> None:
    """Refuse more rows of a batched tensor, or more files of a ragged one, than ``max_batch`` examples may have.

    Args:
        spec: the tensor.
        count: its rows or files.
        max_batch: the maximum of examples.
        advice: on the shape, where the rows are most likely no examples.

    Raises:
        InputShapeError: says how many may come.
    """
    most = max_batch if spec.batched else max_batch * (spec.max_rows or 1)
    if count > most and advice:
        raise InputShapeError(f"input {spec.name!r} has {count} entries; the model takes {_shown_shape(spec)}{advice}")
    if count > most:
        raise InputShapeError(
            f"input {spec.name!r} has {count} examples; at most {most} are accepted: send several requests"
        )


def owners(spec: TensorSpec, specs: Sequence[TensorSpec], arrays: Mapping[str, Array], max_batch: int) -> Array:
    """The owner vector that was sent, or that of a single example.

    Raises:
        RequestError: it does not count up from 0, or names more examples than ``max_batch``.
    """
    given = arrays.get(spec.name)
    if given is None:
        return np.zeros(dim_size(spec.owner_of, specs, arrays), dtype=np.int64)
    if given.ndim != 1:
        return given  # refused by the check of shapes
    steps = np.diff(given, prepend=0)
    if given.size and (given[0] != 0 or ((steps != 0) & (steps != 1)).any()):
        raise InputValueError(f"input {spec.name!r} must start at 0 and count up by one at each new example")
    if given.size and given[-1] >= max_batch:
        raise InputShapeError(
            f"input {spec.name!r} has {given[-1] + 1} examples; at most {max_batch} are accepted: send several requests"
        )
    return given


def _whole(spec: TensorSpec, values: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Make 3.0 into 3: JSON has one kind of number, and its schemas call 3.0 an integer. 2.5 is refused."""
    for index, value in enumerate(values):
        # Beyond 2**53 the digits that were sent are lost already.
        if type(value) is float and not (value.is_integer() and abs(value) <= _EXACT):
            raise InputTypeError(
                f"input {spec.name!r}{_path(index, shape)} is {shown(value)}; the model takes {_scalars(spec)}"
            )
    return list(map(int, values))


def _scalars(spec: TensorSpec) -> str:
    if spec.dtype == "bool":
        return "true or false"
    if spec.dtype == "string":
        return "strings"
    if spec.codes is not None:
        return f"its categories as strings, or their codes ({spec.dtype})"
    kind = "integers" if spec.numpy_dtype.kind in "iu" else "numbers, or null," if spec.missing else "numbers"
    return f"{kind} ({spec.dtype})"


def _other_type(
    spec: TensorSpec, level: list[Any], allowed: frozenset[type], shape: tuple[int, ...], wanted: str
) -> InputShapeError:
    index, item = next((index, item) for index, item in enumerate(level) if type(item) not in allowed)
    return InputShapeError(
        f"input {spec.name!r}{_path(index, shape)} is {KINDS[type(item)]}; the model takes {wanted}{advice_on(item)}"
    )


def _ragged(spec: TensorSpec, level: list[list[Any]], shape: tuple[int, ...]) -> str:
    index = next(index for index, item in enumerate(level) if len(item) != len(level[0]))
    return (
        f"input {spec.name!r} is ragged: {_path(0, shape) or 'it'} has {len(level[0])} entries, "
        f"and {_path(index, shape)} has {len(level[index])}"
    )


def _to_array(spec: TensorSpec, values: list[Any]) -> Array:
    dtype = spec.numpy_dtype
    try:
        if dtype.kind != "f":
            return np.array(values, dtype=dtype)
        wide = np.array(values, dtype=np.float64)
        if wide.size and np.fmax.reduce(np.abs(wide), axis=None) > _LARGEST[dtype.itemsize]:
            raise OverflowError("a value beyond the dtype's largest")
    except OverflowError:
        worst = _out_of_range(dtype, values)
        raise InputValueError(
            f"input {spec.name!r} has the value {shown(worst)}, which {spec.dtype} cannot hold"
        ) from None
    return wide.astype(dtype)


def _out_of_range(dtype: np.dtype[Any], values: list[Any]) -> Any:
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    # As Python numbers: numpy would first make the value fit the dtype.
    kind = float if dtype.kind == "f" else int
    low, high = kind(limits.min), kind(limits.max)
    return next(value for value in values if value is not None and not low <= value <= high)


def _fixed(dim: int | str) -> int:
    return dim if isinstance(dim, int) else 0


def _path(index: int, shape: tuple[int, ...]) -> str:
    return "".join(f"[{place}]" for place in np.unravel_index(index, shape)) if shape else ""


def _shown_shape(spec: TensorSpec) -> str:
    return "[" + ", ".join(str(dim) for dim in spec.shape) + "]"
