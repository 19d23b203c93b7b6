"""Statistics of the data a model was trained on, made by the function that later sees live data.

A tensor is turned into a few named features (``features``); a :class:`Reference` keeps for each the histogram over
fixed bins. Drift is then a distance between two histograms with the same bins.
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
"""A tensor with more columns than this is summarised as a whole: one feature a column would not be read by anyone."""
EMBEDDING, PROJECTIONS = "embedding", 8
"""An output of this name, or one that ends with it, is what a layer before the last one says: a point in many dims.
Each of these random directions is a feature, so that points that move are seen though no single column says much."""


class FeatureReference(Frozen):
    """The distribution of one scalar feature."""

    kind: Literal["number", "category"]
    count: int
    """Values seen."""
    mean: float = 0.0
    std: float = 0.0
    minimum: float = 0.0
    maximum: float = 0.0
    edges: tuple[float, ...] = ()
    """Inner bin edges, ascending; the first and last bins are open."""
    labels: tuple[str, ...] = ()
    """Of a category: one bin a label."""
    shares: tuple[float, ...]
    """Share of the values in each bin, summing to 1."""
    null: dict[Test, Null] = Field(default_factory=dict)
    """How large each distance becomes by chance."""

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
    """Groups of examples that are alike (pictures of one deck), where the data set says so."""
    design_effect: float = Field(default=1.0, ge=1)
    """How much further a sample mean strays because of them, as a ratio of variances."""

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
            examples: of the data that live requests should be like.
            groups: what each example belongs to; examples of one group are expected to be alike, and so are as many
                requests that come together. By default each is independent of all others.
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
        """One request's features as a vector, float64 (dims,): the mean of each number, a one-hot of each label."""
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
        """Raises ArtifactError when the content is not a reference."""
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
        float64 (k,) by feature name: one value for each feature of a content type, one a row for a ragged tensor. A
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
    """Add how large each distance becomes by chance, from one histogram an example."""
    if not parts:
        return feature
    histograms = np.stack([feature.histogram(part) for part in parts])
    return feature.model_copy(update={"null": null_of_histograms(histograms, TESTS[feature.kind], groups)})


def _numbers(groups: Sequence[Hashable]) -> NDArray[np.intp]:
    """Each group's number, counted in the order in which they come."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(group, len(known)) for group in groups], dtype=np.intp)


def _summarise(values: Array, labels: tuple[str, ...] | None) -> FeatureReference:
    if labels is not None and values.dtype.kind == "i":
        counts = np.bincount(values, minlength=len(labels))
        return FeatureReference(
            kind="category", count=len(values), labels=labels, shares=tuple(float(c) for c in counts / counts.sum())
        )
    # A value that fills whole bins (a constant column, the zeros of a one-hot one) gets a bin of its own: what lies
    # above it is something else.
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
