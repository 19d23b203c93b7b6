"""Convert Arrow columns to arrays of a TensorSpec, without a loop over rows and without changing a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lading.content import content_of
from lading.errors import RequestError
from lading.protocol.json_values import flat_to_array
from lading.spec import Array, TensorSpec

_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def is_list(kind: pa.DataType) -> bool:
    return any(test(kind) for test in _LISTS)


def is_encoded(spec: TensorSpec, kind: pa.DataType) -> bool:
    """Whether a column has encoded files: bytes, or a struct with a field ``bytes`` as in data set hubs; or texts."""
    content = content_of(spec)
    if content is None:
        return False
    if content.textual and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return True
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _is_bytes(kind.field(place).type)
    return _is_bytes(kind)


def type_problem(spec: TensorSpec, kind: pa.DataType) -> str | None:
    """Why the type of a column does not fit this tensor; ``None`` if it fits."""
    if is_encoded(spec, kind):
        return None
    if spec.example_shape == (1,) and not is_list(kind) and not isinstance(kind, pa.FixedShapeTensorType):
        return type_problem(_scalar(spec), kind)
    wanted = f"{_leaf_name(spec)} of shape [{', '.join(str(dim) for dim in spec.example_shape)}]"
    content = content_of(spec)
    if content is not None:
        wanted += f", or {content.formats}" if content.textual else f", or the bytes of a {content.formats} file"
    leaf, depth = kind, 0
    if isinstance(kind, pa.FixedShapeTensorType):
        if kind.permutation not in (None, list(range(len(kind.shape)))):
            return f"is a tensor with permuted dims; the model takes {wanted}: store it without a permutation"
        leaf, sizes = kind.value_type, list(kind.shape)
        depth = len(sizes)
    else:
        sizes = []
        while is_list(leaf):
            sizes.append(leaf.list_size if pa.types.is_fixed_size_list(leaf) else None)
            leaf, depth = leaf.value_type, depth + 1
    dims = spec.example_shape
    fits = depth == len(dims) and all(
        size is None or isinstance(dim, str) or size == dim for size, dim in zip(sizes, dims, strict=True)
    )
    if fits and _leaf_fits(spec, leaf):
        return None
    advice = ""
    if pa.types.is_dictionary(leaf) and not _takes_text(spec):
        advice = ": store the plain values, not a dictionary (pyarrow: column.cast(type.value_type))"
    elif pa.types.is_decimal(leaf):
        advice = f": a decimal has no exact {spec.dtype}; cast it where the file is written"
    elif fits and _is_number(leaf):
        advice = f": cast it to {spec.dtype} where the file is written"
    return f"has the type {kind}; the model takes {wanted}{advice}"


def stacked(spec: TensorSpec, column: pa.Array) -> Array:
    """All rows of a column as one array; the first dim is the row.

    Raises:
        RequestError: a null, lists of different lengths, or a value that the dtype cannot hold.
    """
    flat, sizes = _flatten(spec, column)
    if len(sizes) == 0 or (sizes == sizes[0]).all():
        dims = sizes[0] if len(sizes) else [dim if isinstance(dim, int) else 0 for dim in spec.example_shape]
        return flat.reshape(len(column), *(int(size) for size in dims))
    odd = int(np.flatnonzero((sizes != sizes[0]).any(axis=1))[0])
    raise RequestError(
        f"input {spec.name!r} has shape {sizes[odd].tolist()} in one row, {sizes[0].tolist()} in another"
    )


def rows_of(spec: TensorSpec, column: pa.Array) -> list[Array]:
    """One array per row, each with its own shape.

    Raises:
        RequestError: a null, a ragged row, or a value that the dtype cannot hold.
    """
    flat, sizes = _flatten(spec, column)
    ends = np.cumsum(sizes.prod(axis=1)).tolist()
    starts = [0, *ends[:-1]] if ends else []
    return [flat[start:end].reshape(size) for start, end, size in zip(starts, ends, sizes.tolist(), strict=True)]


def file_bytes(spec: TensorSpec, column: pa.Array) -> list[bytes]:
    """The encoded files of a column.

    Raises:
        RequestError: a null.
    """
    _refuse_null(spec, column)
    if pa.types.is_struct(column.type):
        column = pc.struct_field(column, "bytes")
        _refuse_null(spec, column)
    return [file.encode() if isinstance(file, str) else file for file in column.to_pylist()]


def _flatten(spec: TensorSpec, column: pa.Array) -> tuple[Array, np.ndarray[Any, np.dtype[np.int64]]]:
    """Flatten nested lists: returns the values in order, and the shape of each row, (rows, dims)."""
    dims = spec.example_shape
    if dims == (1,) and not is_list(column.type) and not isinstance(column, pa.ExtensionArray):
        return _flatten(_scalar(spec), column)[0], np.ones((len(column), 1), dtype=np.int64)
    if dims or not spec.missing:
        _refuse_null(spec, column)
    if isinstance(column, pa.ExtensionArray):
        sizes = np.tile(np.array(column.type.shape, dtype=np.int64), (len(column), 1))
        column = column.storage.flatten()
    else:
        sizes = np.empty((len(column), len(dims)), dtype=np.int64)
        lists = np.ones(len(column), dtype=np.int64)  # lists of each row at this level
        for axis, dim in enumerate(dims):
            lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
            size = np.full(len(sizes), dim if isinstance(dim, int) else 0, dtype=np.int64)
            some = lists > 0
            size[some] = lengths[(np.cumsum(lists) - lists)[some]]
            uneven = np.flatnonzero(lengths != np.repeat(size, lists))
            if uneven.size:
                raise RequestError(f"input {spec.name!r} is ragged: lists of {size.max()} and {lengths[uneven[0]]}")
            sizes[:, axis] = size
            lists = lists * size
            column = column.flatten()
            if axis + 1 < len(dims) or not spec.missing:
                _refuse_null(spec, column)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_text(column.type):
        texts = column.to_pylist()
        return flat_to_array(spec, texts, (len(texts),)), sizes
    if spec.codes is not None and column.null_count:
        column = pc.fill_null(column, spec.unknown)
    return _exact(spec, column.to_numpy(zero_copy_only=False)), sizes


def _scalar(spec: TensorSpec) -> TensorSpec:
    """A tensor of one value per row, as a plain column holds it."""
    return spec.model_copy(update={"shape": spec.shape[:1]})


def _exact(spec: TensorSpec, values: Array) -> Array:
    """The same values in the spec's dtype. A float may lose digits, as numbers in JSON do, but must stay in range."""
    dtype = spec.numpy_dtype
    if values.dtype == dtype or values.size == 0:
        return values.astype(dtype, copy=False)
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    worst = [value for value in (finite.min(), finite.max()) if finite.size] if finite.size else []
    kind = float if dtype.kind == "f" else int
    for value in worst:
        if not kind(limits.min) <= kind(value) <= kind(limits.max):
            raise RequestError(f"input {spec.name!r} has the value {value}, which {spec.dtype} cannot hold")
    return values.astype(dtype)


def _refuse_null(spec: TensorSpec, column: pa.Array) -> None:
    if column.null_count:
        raise RequestError(f"input {spec.name!r} is null, or holds a null: a model has no answer to a missing value")


def _leaf_fits(spec: TensorSpec, leaf: pa.DataType) -> bool:
    kind = spec.numpy_dtype.kind
    if pa.types.is_dictionary(leaf):
        leaf = leaf.value_type
    if _is_text(leaf):
        return _takes_text(spec)
    if kind == "b":
        return bool(pa.types.is_boolean(leaf))
    if kind == "O":
        return False
    return bool(pa.types.is_integer(leaf) or (kind == "f" and pa.types.is_floating(leaf)))


def _leaf_name(spec: TensorSpec) -> str:
    if spec.codes is not None:
        return f"names of categories, or codes ({spec.dtype}),"
    return {"b": "bool", "O": "string", "f": f"{spec.dtype} (or any other number)"}.get(
        spec.numpy_dtype.kind, f"{spec.dtype} (or any other integer)"
    )


def _takes_text(spec: TensorSpec) -> bool:
    return spec.dtype == "string" or spec.codes is not None


def _is_text(leaf: pa.DataType) -> bool:
    return bool(pa.types.is_string(leaf) or pa.types.is_large_string(leaf) or pa.types.is_string_view(leaf))


def _is_number(leaf: pa.DataType) -> bool:
    return bool(pa.types.is_integer(leaf) or pa.types.is_floating(leaf) or pa.types.is_boolean(leaf))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
