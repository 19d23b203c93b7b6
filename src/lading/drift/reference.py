"""Statistics of the reference data, computed by the same function that later runs on live requests.

``features`` turns a tensor into a few named features. A :class:`Reference` has a histogram with fixed bins for each of
them. Drift is a distance between two histograms with the same bins.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lading.content import content_of
from lading.drift.calibrate import LEAST, design_effect, null_of_histograms, null_of_sketches
from lading.drift.distances import TESTS, Null, Test
from lading.drift.sketch import Joint
from lading.errors import ArtifactError
from lading.spec import Array, Frozen, TensorSpec

BINS = 10
"""Ten quantile bins: the usual choice for the population stability index."""
MAX_COLUMNS = 64
"""A tensor with more columns than this gets a mean and a standard deviation, not one feature per column."""
EMBEDDING, PROJECTIONS = "embedding", 8
"""An output with a name that ends like this is an embedding: a point in many dims. Its projections on this number of
random directions are the features, because single columns of an embedding mean little."""


class FeatureReference(Frozen):
    """The distribution of one scalar feature."""

    kind: Literal["number", "category"]
    count: int
    """Number of values."""
    mean: float = 0.0
    std: float = 0.0
    minimum: float = 0.0
    maximum: float = 0.0
    edges: tuple[float, ...] = ()
    """Inner bin edges, ascending. The first and last bins are open."""
    labels: tuple[str, ...] = ()
    """Labels of a category: one bin per label."""
    shares: tuple[float, ...]
    """Share of the values in each bin, summing to 1."""
    null: dict[Test, Null] = Field(default_factory=dict)
    """Distribution of each distance without drift."""

    def histogram(self, values: Array) -> NDArray[np.int64]:
        """Count values into this feature's bins.

        Args:
            values: float64 (n,), or label indexes int64 (n,) of a category.

        Returns:
            int64 (bins,).
        """
        if self.kind == "category":
            return np.bincount(values.astype(np.int64), minlength=len(self.labels))[: len(self.labels)]
        return np.bincount(np.searchsorted(np.asarray(self.edges), values, side="right"), minlength=len(self.shares))


class Reference(Frozen):
    """Per-feature statistics of a data set, inputs and outputs."""

    examples: int
    features: dict[str, FeatureReference] = Field(default_factory=dict)
    joint: Joint | None = None
    """All features together, as a sketch of vectors."""
    joint_null: Null | None = None
    groups: int | None = None
    """Number of groups of similar examples (pictures of one deck), if the data set defines them."""
    design_effect: float = Field(default=1.0, ge=1)
    """Variance of a sample mean with these groups, divided by that of independent examples."""

    @classmethod
    def fit(
        cls,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        examples: Iterable[tuple[Mapping[str, Array], Mapping[str, Array]]],
        groups: Sequence[Hashable] | None = None,
    ) -> Reference:
        """Summarise (inputs, outputs) of single requests, all without the batch dim.

        Args:
            inputs: the model's.
            outputs: the model's.
            examples: examples that live requests should look like.
            groups: the group of each example. Examples of a group may be similar, and so may the same number of
                requests that arrive together. By default all examples are independent.
        """
        seen = [example_features(inputs, outputs, given, answered) for given, answered in examples]
        labels = {f"{spec.name}.label": spec.labels for spec in outputs if spec.labels}
        columns: dict[str, list[Array]] = {}
        rows: dict[str, list[int]] = {}
        for row, example in enumerate(seen):
            for name, values in example.items():
                columns.setdefault(name, []).append(values)
                rows.setdefault(name, []).append(row)
        enough = len(seen) >= LEAST
        of = None if groups is None else _numbers(groups)
        features = {
            name: _with_null(
                _summarise(np.concatenate(parts), labels.get(name)),
                parts if enough else (),
                None if of is None else of[rows[name]],
            )
            for name, parts in sorted(columns.items())
        }
        plain = cls(examples=len(seen), features=features, groups=None if of is None else int(of.max()) + 1)
        vectors = [plain.vector(example) for example in seen]
        if not enough or not vectors[0].size:
            return plain
        joint = Joint.fit(np.stack(vectors))
        sketches = joint.features(np.stack(vectors))
        null, effect = null_of_sketches(sketches, of), design_effect(sketches, of)
        return plain.model_copy(update={"joint": joint, "joint_null": null, "design_effect": effect})

    def vector(self, example: Mapping[str, Array]) -> NDArray[np.float64]:
        """Features of one request as float64 (dims,): the mean of each number, one-hot of each label."""
        parts: list[NDArray[np.float64]] = []
        for name, feature in self.features.items():
            values = example.get(name)
            if feature.kind == "category":
                counts = np.zeros(len(feature.labels)) if values is None else feature.histogram(values)
                parts.append(counts / max(counts.sum(), 1))
            else:
                there = values is not None and values.size
                parts.append(np.array([values.mean() if values is not None and there else feature.mean]))
        return np.concatenate(parts) if parts else np.zeros(0)

    def to_json(self) -> str:
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, content: bytes | str) -> Reference:
        """Read a reference. Raises ArtifactError if the content is not one."""
        try:
            return cls.model_validate_json(content)
        except ValueError as error:
            raise ArtifactError(f"reference.json cannot be read: {error}") from None


def example_features(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    given: Mapping[str, Array],
    answered: Mapping[str, Array],
) -> dict[str, Array]:
    """All features of one request and its answer, by name; tensors without the batch dim."""
    found: dict[str, Array] = {}
    for specs, tensors in ((inputs, given), (outputs, answered)):
        for spec in specs:
            if spec.name in tensors:
                found |= features(spec, np.asarray(tensors[spec.name]))
    return found


def features(spec: TensorSpec, tensor: Array) -> dict[str, Array]:
    """Turn one request's tensor into scalar features by name.

    Args:
        spec: the tensor's declaration.
        tensor: without the batch dim.

    Returns:
        float64 (k,) by feature name: one value for each feature of a content type, one per row for a ragged tensor. A
        labelled output gives ``<name>.label`` (int64) and ``<name>.confidence``.
    """
    content = content_of(spec)
    if content is not None:
        described = content.features(tensor)
        return {f"{spec.name}.{key}": described[[index]] for index, key in enumerate(content.feature_names)}
    if spec.indexes or spec.owner_of:
        return {f"{spec.name}.count": np.array([float(tensor.shape[-1])])}
    if tensor.ndim == 0:
        return {spec.name: tensor.reshape(1).astype(np.float64)}
    rows = tensor.reshape(-1, tensor.shape[-1]) if tensor.ndim > 1 else tensor.reshape(1, -1)
    if spec.labels and tensor.dtype.kind == "f" and _is_distribution(rows):
        return {
            f"{spec.name}.label": rows.argmax(axis=1),
            f"{spec.name}.confidence": rows.max(axis=1).astype(np.float64),
        }
    values = rows.astype(np.float64)
    result: dict[str, Array] = {}
    if not spec.batched:
        result[f"{spec.name}.count"] = np.array([float(len(rows))])
    if spec.name.endswith(EMBEDDING) and not spec.labels:
        values = values @ _directions(values.shape[1])
    elif values.shape[1] > MAX_COLUMNS:
        return result | {f"{spec.name}.mean": values.mean(axis=1), f"{spec.name}.std": values.std(axis=1)}
    names = spec.labels or tuple(str(column) for column in range(values.shape[1]))
    return result | {f"{spec.name}.{name}": values[:, column] for column, name in enumerate(names)}


@lru_cache(maxsize=16)
def _directions(dims: int) -> NDArray[np.float64]:
    # The only generator with a stream that numpy never changes (NEP 19). A reference is read by other numpy versions.
    drawn = np.random.RandomState(dims).standard_normal((dims, PROJECTIONS))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=0))


def _is_distribution(rows: Array) -> bool:
    return bool((rows >= 0).all() and (np.abs(rows.sum(axis=1) - 1) <= 0.01).all())


def _with_null(feature: FeatureReference, parts: Sequence[Array], groups: NDArray[np.intp] | None) -> FeatureReference:
    """Add the distribution of each distance without drift, from one histogram per example."""
    if not parts:
        return feature
    histograms = np.stack([feature.histogram(part) for part in parts])
    return feature.model_copy(update={"null": null_of_histograms(histograms, TESTS[feature.kind], groups)})


def _numbers(groups: Sequence[Hashable]) -> NDArray[np.intp]:
    """Number the groups in order of appearance."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(group, len(known)) for group in groups], dtype=np.intp)


def _summarise(values: Array, labels: tuple[str, ...] | None) -> FeatureReference:
    if labels is not None and values.dtype.kind == "i":
        counts = np.bincount(values, minlength=len(labels))
        return FeatureReference(
            kind="category", count=len(values), labels=labels, shares=tuple(float(c) for c in counts / counts.sum())
        )
    # A value that fills whole bins (a constant column, the zeros of a one-hot column) gets a bin of its own, so that
    # values above it are counted elsewhere.
    quantiles, times = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]), return_counts=True)
    edges = np.unique(np.concatenate([quantiles, np.nextafter(quantiles[times > 1], np.inf)]))
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return FeatureReference(
        kind="number",
        count=len(values),
        mean=float(values.mean()),
        std=float(values.std()),
        minimum=float(values.min()),
        maximum=float(values.max()),
        edges=tuple(float(edge) for edge in edges),
        shares=tuple(float(share) for share in counts / counts.sum()),
    )
