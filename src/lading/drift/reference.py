"""Statistics of the reference data, computed by the same function that later runs on live requests.

``lading.drift.features`` turns a request into a few named features. A :class:`Reference` has a histogram with fixed
bins for each of them. Drift is a distance between two histograms with the same bins.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lading.answers import Directions, answer_kind
from lading.artifact import Artifact
from lading.drift.calibrate import LEAST, design_effect, null_of_histograms, null_of_sketches
from lading.drift.distances import TESTS, Null, Test
from lading.drift.features import category_labels, example_features
from lading.drift.sketch import Joint
from lading.errors import ArtifactError
from lading.errors.sentences import clipped
from lading.spec import Array, Frozen, TensorSpec

BINS = 10
"""Ten quantile bins: the usual choice for the population stability index."""
SCHEMA_VERSION = 1
"""Version of ``reference.json``. A file without one has version 1."""
_FINITE = ConfigDict(allow_inf_nan=False)


class FeatureReference(Frozen):
    """The distribution of one scalar feature."""

    model_config = _FINITE

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

    @model_validator(mode="after")
    def _bins(self) -> FeatureReference:
        bins = len(self.labels) if self.kind == "category" else len(self.edges) + 1
        if len(self.shares) != bins:
            raise ValueError(f"{len(self.shares)} shares do not fit {bins} bins")
        if any(share < 0 for share in self.shares) or not sum(self.shares) > 0:
            raise ValueError("shares are not negative, and not all zero")
        if any(left >= right for left, right in pairwise(self.edges)):
            raise ValueError("the edges of the bins do not ascend")
        return self

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

    model_config = _FINITE

    schema_version: int = SCHEMA_VERSION
    examples: int = Field(ge=0)
    features: dict[str, FeatureReference] = Field(default_factory=dict)
    joint: Joint | None = None
    """All features together, as a sketch of vectors."""
    joint_null: Null | None = None
    groups: int | None = None
    """Number of groups of similar examples (pictures of one deck), if the data set defines them."""
    design_effect: float = Field(default=1.0, ge=1)
    """Variance of a sample mean with these groups, divided by that of independent examples."""
    directions: dict[str, Directions] = Field(default_factory=dict)
    """What the features of an embedding are measured along, by output. Other examples than those behind ``features``
    gave them: directions describe what they were fitted to better than anything else."""

    @model_validator(mode="after")
    def _whole(self) -> Reference:
        calibrated = self.joint_null is not None or any(feature.null for feature in self.features.values())
        if calibrated and not self.examples:
            raise ValueError("there are thresholds, but no examples")
        dims = sum(len(feature.labels) if feature.kind == "category" else 1 for feature in self.features.values())
        if self.joint is not None and len(self.joint.mean) != dims:
            raise ValueError(f"the joint statistics have {len(self.joint.mean)} dims, and the features {dims}")
        return self

    @classmethod
    def fit(
        cls,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        examples: Iterable[tuple[Mapping[str, Array], Mapping[str, Array]]],
        groups: Sequence[Hashable] | None = None,
        described: Sequence[Mapping[str, Array]] | None = None,
    ) -> Reference:
        """Summarise (inputs, outputs) of single requests, all without the batch dim.

        Args:
            inputs: the model's.
            outputs: the model's.
            examples: examples that live requests should look like.
            groups: the group of each example. Examples of a group may be similar, and so may the same number of
                requests that arrive together. By default all examples are independent.
            described: features of each example that replace those computed here.
        """
        examples = list(examples)
        directions = _directions(outputs, [answered for _, answered in examples])
        if directions:
            examples = examples[1::2]
            groups = None if groups is None else groups[1::2]
            described = None if described is None else described[1::2]
        seen = [example_features(inputs, outputs, given, answered, directions) for given, answered in examples]
        if described is not None:
            seen = [{**example, **known} for example, known in zip(seen, described, strict=True)]
        labels: dict[str, tuple[str, ...] | None] = {
            f"{spec.name}.label": spec.labels for spec in outputs if spec.labels
        }
        labels |= {f"{spec.name}.category": category_labels(spec) for spec in (*inputs, *outputs)}
        for spec in outputs:
            if (kind := answer_kind(spec)) is not None:
                labels |= kind.labels(spec)
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
        plain = cls(
            examples=len(seen),
            features=features,
            groups=None if of is None else int(of.max()) + 1,
            directions=directions,
        )
        vectors = [plain.vector(example) for example in seen]
        if not enough or not vectors[0].size:
            return plain
        joint = Joint.fit(np.stack(vectors))
        sketches = joint.features(np.stack(vectors))
        null, effect = null_of_sketches(sketches, of), design_effect(sketches, of)
        return plain.model_copy(update={"joint": joint, "joint_null": null, "design_effect": effect})

    def features_of(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        given: Mapping[str, Array],
        answered: Mapping[str, Array],
    ) -> dict[str, Array]:
        """The features of one request and its answer, as those of the reference were computed."""
        return example_features(inputs, outputs, given, answered, self.directions)

    def vector(self, example: Mapping[str, Array]) -> NDArray[np.float64]:
        """Features of one request as float64 (dims,): the mean of each number, one-hot of each label."""
        parts: list[NDArray[np.float64]] = []
        for name, feature in self.features.items():
            values = example.get(name)
            if feature.kind == "category":
                counts = np.zeros(len(feature.labels)) if values is None else feature.histogram(values)
                parts.append(counts / max(counts.sum(), 1))
            else:
                mean = values.mean() if values is not None and values.size else feature.mean
                # One number that is not finite would make the sums of a whole window useless.
                parts.append(np.array([mean if np.isfinite(mean) else feature.mean]))
        return np.concatenate(parts) if parts else np.zeros(0)

    def outside(self, example: Mapping[str, Array]) -> list[str]:
        """Names of the features of one request with a value outside of the range of the reference data."""
        return [
            name
            for name, values in example.items()
            if (feature := self.features.get(name)) is not None
            and feature.kind == "number"
            and values.size
            and (values.min() < feature.minimum or values.max() > feature.maximum)
        ]

    def to_json(self) -> str:
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def of(cls, artifact: Artifact) -> Reference:
        """Read the reference of an artifact.

        Raises:
            ArtifactError: as :meth:`from_json`, or the file is missing.
        """
        file = artifact.file("reference.json")
        try:
            content = artifact.reference_json()
        except OSError as error:
            raise ArtifactError(f"{file} cannot be read: {error.strerror}") from None
        return cls.from_json(content, str(file))

    @classmethod
    def from_json(cls, content: bytes | str, file: str = "reference.json") -> Reference:
        """Read a reference.

        Args:
            content: JSON.
            file: named in errors.

        Raises:
            ArtifactError: the content is not a reference, contradicts itself, or was written by a newer version.
        """
        try:
            version = _Version.model_validate_json(content).schema_version
            if version <= SCHEMA_VERSION:
                return cls.model_validate_json(content)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            reason = f"{where}: {problem['msg']}" if where else problem["msg"]
            raise ArtifactError(clipped(f"{file} cannot be read: {reason}; build the artifact again")) from None
        raise ArtifactError(
            f"{file} has schema_version {version}; this version of lading reads up to {SCHEMA_VERSION}: upgrade lading"
        )


class _Version(BaseModel):
    """What every version of the file has."""

    schema_version: int = SCHEMA_VERSION


def _with_null(feature: FeatureReference, parts: Sequence[Array], groups: NDArray[np.intp] | None) -> FeatureReference:
    """Add the distribution of each distance without drift, from one histogram per example."""
    if not parts:
        return feature
    histograms = np.stack([feature.histogram(part) for part in parts])
    return feature.model_copy(update={"null": null_of_histograms(histograms, TESTS[feature.kind], groups)})


def _directions(outputs: Sequence[TensorSpec], answers: Sequence[Mapping[str, Array]]) -> dict[str, Directions]:
    """Directions of every second answer, where the rest is enough for thresholds."""
    found: dict[str, Directions] = {}
    if len(answers) < 2 * LEAST:
        return found
    for spec in outputs:
        kind = answer_kind(spec)
        rows = [answer[spec.name] for answer in answers[::2] if spec.name in answer]
        if kind is not None and rows and (known := kind.directions(np.stack(rows).astype(np.float64))) is not None:
            found[spec.name] = known
    return found


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
