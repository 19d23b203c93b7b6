"""Features of a request and its answer: a few named numbers for each tensor, whose distributions are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lading.answers import Directions, answer_kind
from lading.content import content_of
from lading.spec import Array, TensorSpec

MAX_COLUMNS = 64
"""A tensor with more columns than this gets a mean and a standard deviation, not one feature per column."""
LARGEST = 262_144
"""Maximum values of a tensor that features are computed from. Of a larger one, rows at equal distances are used, and
columns if one row is larger. So the memory does not grow with a request."""
EMBEDDING, PROJECTIONS = "embedding", 8
"""An output with a name that ends like this is a point in many dims. Its projections on this number of random
directions are the features, because single columns mean little. With the content of this name, the principal directions
of the reference are better, if it is large enough to know them."""
NO_DIRECTIONS: Mapping[str, Directions] = {}


def example_features(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    given: Mapping[str, Array],
    answered: Mapping[str, Array],
    directions: Mapping[str, Directions] = NO_DIRECTIONS,
) -> dict[str, Array]:
    """All features of one request and its answer, by name; tensors without the batch dim.

    Args:
        inputs: the model's, or those of interest.
        outputs: the model's, or those of interest.
        given: the request.
        answered: the answer.
        directions: of the reference, by output.
    """
    found: dict[str, Array] = {}
    for specs, tensors in ((inputs, given), (outputs, answered)):
        for spec in specs:
            if spec.name in tensors:
                found |= features(spec, np.asarray(tensors[spec.name]), directions.get(spec.name))
    return found


def features(spec: TensorSpec, tensor: Array, directions: Directions | None = None) -> dict[str, Array]:
    """Turn one request's tensor into scalar features by name.

    Args:
        spec: the tensor's declaration.
        tensor: without the batch dim.
        directions: of the reference, for an output that has some.

    Returns:
        float64 (k,) by feature name: one value for each feature of a content type, one per row for a ragged tensor. A
        labelled output gives ``<name>.label`` (int64) and ``<name>.confidence``; a batched tensor without a fixed
        number of columns its size, mean and standard deviation. Of values that may be missing, those that are there,
        and the share of missing ones, ``<name>.missing``. Categories give ``<name>.category`` (int64), an index of
        :func:`category_labels`; other strings their length, ``<name>.length``, in characters.
    """
    if described := _described(spec, tensor, directions):
        return described
    if spec.indexes or spec.optional or not tensor.size:
        return {f"{spec.name}.count": np.array([float(tensor.shape[-1] if tensor.size else 0)])}
    if spec.categories is not None or spec.dtype == "string":
        return _of_names(spec, tensor.ravel()[:LARGEST])
    if tensor.ndim == 0 and not spec.missing:
        return {spec.name: tensor.reshape(1).astype(np.float64)}
    rows = tensor.reshape(-1, tensor.shape[-1]) if tensor.ndim > 1 else tensor.reshape(1, -1)
    count = len(rows)
    if rows.size > LARGEST:
        rows = rows[:: -(-count // max(1, LARGEST // rows.shape[1])), :: -(-rows.shape[1] // LARGEST)]
    if spec.labels and tensor.dtype.kind == "f" and _is_distribution(rows):
        return {
            f"{spec.name}.label": rows.argmax(axis=1),
            f"{spec.name}.confidence": rows.max(axis=1).astype(np.float64),
        }
    values = rows.astype(np.float64)
    result: dict[str, Array] = {}
    any_width = spec.batched and isinstance(spec.shape[-1], str)
    if any_width or not spec.batched:
        result[f"{spec.name}.count"] = np.array([float(tensor.shape[-1] if any_width else count)])
    embedding = (spec.content == EMBEDDING or spec.name.endswith(EMBEDDING)) and not spec.labels
    if spec.missing:
        result |= _with_missing(spec, values)
    elif any_width or (values.shape[1] > MAX_COLUMNS and not embedding):
        result |= {f"{spec.name}.mean": values.mean(axis=1), f"{spec.name}.std": values.std(axis=1)}
    else:
        columns = values @ _directions(values.shape[1]) if embedding else values
        result |= {f"{spec.name}.{name}": columns[:, at] for at, name in enumerate(_names(spec, columns.shape[1]))}
    return result


OTHER = "(other)"
"""The bin of all values that are no known category, missing ones among them."""


def category_labels(spec: TensorSpec) -> tuple[str, ...] | None:
    """The bins of ``<name>.category``: one per category, and one for all other values."""
    return None if spec.categories is None else (*spec.categories, OTHER)


def _described(spec: TensorSpec, tensor: Array, directions: Directions | None) -> dict[str, Array]:
    """The features that a content type or a kind of answer has of its own; empty for numbers and strings."""
    content, kind = content_of(spec), answer_kind(spec)
    if content is not None:
        described = content.features(tensor)
        return {f"{spec.name}.{key}": described[[index]] for index, key in enumerate(content.feature_names)}
    return dict(kind.features(spec, tensor, directions)) if kind is not None else {}


def _of_names(spec: TensorSpec, values: Array) -> dict[str, Array]:
    if spec.categories is None:
        return {f"{spec.name}.length": np.array([float(len(text)) for text in values.tolist()])}
    other = len(spec.categories)
    if spec.dtype == "string":
        codes = {name: code for code, name in enumerate(spec.categories)}
        values = np.array([codes.get(text, other) for text in values.tolist()], np.int64)
    return {f"{spec.name}.category": np.where((values >= 0) & (values < other), values, other).astype(np.int64)}


def _with_missing(spec: TensorSpec, values: NDArray[np.float64]) -> dict[str, Array]:
    """Features of float64 (rows, columns), of which NaN are missing; a column without a value has none."""
    known = ~np.isnan(values)
    found: dict[str, Array] = {f"{spec.name}.missing": 1.0 - known.mean(axis=1)}
    if values.shape[1] > MAX_COLUMNS or not isinstance(spec.shape[-1], int):
        whole = values[known]
        summary = {"mean": whole.mean(keepdims=True), "std": whole.std(keepdims=True)} if whole.size else {}
        return found | {f"{spec.name}.{key}": value for key, value in summary.items()}
    columns = {name: values[known[:, column], column] for column, name in enumerate(_names(spec, values.shape[1]))}
    return found | {f"{spec.name}.{name}": column for name, column in columns.items() if column.size}


def _names(spec: TensorSpec, columns: int) -> tuple[str, ...]:
    return spec.labels or tuple(str(column) for column in range(columns))


@lru_cache(maxsize=16)
def _directions(dims: int) -> NDArray[np.float64]:
    # The only generator with a stream that numpy never changes (NEP 19). A reference is read by other numpy versions.
    drawn = np.random.RandomState(dims).standard_normal((dims, PROJECTIONS))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=0))


def _is_distribution(rows: Array) -> bool:
    return bool((rows >= 0).all() and (np.abs(rows.sum(axis=1) - 1) <= 0.01).all())
