"""The contents of ``lading.json``: variants, their measurements, the machine that made them, and provenance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from lading.spec import BATCH, Frozen, TensorSpec, Variant


class Machine(Frozen):
    """The machine that a measurement was made on."""

    cpu: str
    cores: int
    """CPUs that the process could use."""
    flags: tuple[str, ...] = ()
    """Instruction sets that decide the speed of int8 and bf16: avx2, avx512_vnni, avx_vnni, amx_int8 ..."""
    onnxruntime: str
    torch: str = ""
    python: str = ""
    os: str = ""


class Timing(Frozen):
    """Latency of one session at one batch size and number of threads, pooled over interleaved rounds."""

    batch: int = Field(ge=1)
    threads: int = Field(ge=1)
    p50_ms: float
    p90_ms: float
    p99_ms: float
    low_ms: float
    """Lower end of the 95 % bootstrap interval of the median of the rounds' medians."""
    high_ms: float
    runs: int

    @property
    def throughput(self) -> float:
        """Examples per second with one caller."""
        return 1000.0 * self.batch / self.p50_ms


class Ratio(Frozen):
    """Quotient of two medians from the same rounds, with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class ScoreDrop(Frozen):
    """How much lower a variant scores than fp32 on the first test split, with its 95 % interval, in units of the score.

    The interval allows for the examples that were not drawn; see ``lading/build/verify/drop.py``.
    """

    value: float
    low: float
    high: float
    examples: int
    """Number of different examples that it is made of."""
    loss_deviation: float
    """Standard deviation of the loss of single examples."""
    largest_loss: float
    """Loss that is expected of the worst example."""


class Similarity(Frozen):
    """How alike a variant's answers are to those of fp32, for an output whose kind has a measure of it."""

    measure: str
    """Such as ``cosine``: 1 where they are the same."""
    least: float
    """Of the example where they are least alike."""
    mean: float


def _alone(timings: Sequence[Timing]) -> Timing | None:
    return next((timing for timing in timings if timing.batch == timing.threads == 1), None)


class LengthCost(Frozen):
    """Milliseconds of a run at one length of the examples, on one thread: medians."""

    length: int = Field(ge=1)
    """Of the padded dims, or pixels of pictures of any size."""
    batch: int = Field(ge=1)
    """Examples of the larger run."""
    alone_ms: float
    """A run of one example."""
    batch_ms: float
    """A run of ``batch`` examples."""

    def seconds(self, rows: int) -> float:
        """T(rows) at this length: linear in the rows, and never less than one of them."""
        # The largest picture runs alone, and its T(rows) is asked for as the far end of smaller ones'.
        more = max(0.0, self.batch_ms - self.alone_ms) / (self.batch - 1) if self.batch > 1 else self.alone_ms
        return (self.alone_ms + more * (rows - 1)) / 1e3


class Measurement(Frozen):
    """Everything that verify measured about one variant."""

    scores: dict[str, float]
    """Score by split, held-out first."""
    score_drop: ScoreDrop | None = None
    """``None`` for fp32, and where it was not found out."""
    agreement: float
    """Share of examples on which every labelled output has the same most likely label as fp32, 0 to 1.

    An output with a kind, such as an embedding, agrees where it is alike enough."""
    similarity: dict[str, Similarity] = Field(default_factory=dict)
    """By output with a kind."""
    max_difference: float
    """Largest absolute difference from fp32 over all outputs."""
    size_bytes: int
    timings: tuple[Timing, ...]
    speedup: Ratio
    """Latency of fp32 divided by that of this variant, at batch 1 on one thread."""
    speedup_torch: Ratio | None = None
    """Latency of torch eager divided by that of this variant, at batch 1 on one thread."""
    round_ms: tuple[float, ...] = ()
    """Median milliseconds of each round, at batch 1 on one thread. All variants ran in the same rounds."""
    peak_memory_bytes: int
    """Growth of the peak resident size of a process that opens a session and runs the largest batch."""
    length: int | None = None
    """Length of the examples in ``timings``: the median of the test examples. ``None`` where all cost the same."""
    lengths: tuple[LengthCost, ...] = ()
    """What other lengths cost, ascending."""

    @property
    def alone(self) -> Timing | None:
        """Timing of one request on one thread; ``None`` if it was not measured."""
        return _alone(self.timings)

    @property
    def cost(self) -> dict[int, float]:
        """T(b): median milliseconds of a batch of b examples on one thread. Batching uses it."""
        return {timing.batch: timing.p50_ms for timing in self.timings if timing.threads == 1}


PAYS = 0.05
"""Share of the cost per example that a larger batch must save. Otherwise the smaller one is used."""
AROUND_S = 0.0002
"""CPU seconds per run on top of the model's own: waking a lane, handing back the outputs, cold caches.
The cards model costs the same per example at every batch size, and still answered 1.09 times as many requests with
batches of 2."""
UNKNOWN_SECONDS = 0.005
"""Assumed for a model without measurements, until its first runs were timed."""


class CostTable:
    """T(b): how long one run of b examples takes on one thread, as verify measured it.

    Args:
        cost: measured milliseconds by batch size; may be empty.
        lengths: what padded dims of other lengths cost, ascending; empty for a model without.
    """

    def __init__(self, cost: Mapping[int, float], lengths: Sequence[LengthCost] = ()) -> None:
        self._points = sorted((size, ms / 1e3) for size, ms in cost.items())
        self._lengths = lengths
        self.best_batch = self._best()
        self.cheapest_batch = min(self._points, key=lambda point: point[1] / point[0])[0] if self._points else 1
        """The measured batch with the lowest cost per example, for work without a deadline."""

    @classmethod
    def of(cls, measurement: Measurement | None) -> CostTable:
        """That of a variant; an empty one if it was not measured."""
        return cls({}) if measurement is None else cls(measurement.cost, measurement.lengths)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that were measured, ascending."""
        return tuple(size for size, _ in self._points)

    def seconds(self, rows: int, length: int | None = None) -> float:
        """T(rows), linear between the measured sizes and proportional beyond them.

        Args:
            rows: examples of the run.
            length: of its padded dims; ``None``: as long as the examples that ``cost`` was measured with.
        """
        if length is not None and self._lengths:
            return self._at_length(rows, length)
        if not self._points:
            return UNKNOWN_SECONDS * rows
        low_size, low = 0, 0.0
        for size, seconds in self._points:
            if rows <= size:
                return low + (seconds - low) * (rows - low_size) / (size - low_size)
            low_size, low = size, seconds
        return low * rows / low_size

    def _at_length(self, rows: int, length: int) -> float:
        """T(rows, length), linear between the measured lengths and proportional beyond the last."""
        first = low = self._lengths[0]
        if length <= first.length:
            return first.seconds(rows)
        for high in self._lengths[1:]:
            if length <= high.length:
                share = (length - low.length) / (high.length - low.length)
                return low.seconds(rows) * (1 - share) + high.seconds(rows) * share
            low = high
        return low.seconds(rows) * length / low.length

    def _best(self) -> int:
        """The smallest batch with a cost per example near the lowest, :data:`AROUND_S` included."""
        if not self._points:
            return 1
        cost = {size: (seconds + AROUND_S) / size for size, seconds in self._points}
        return next(size for size in cost if cost[size] <= min(cost.values()) / (1 - PAYS))


class Baseline(Frozen):
    """A torch runner measured in the same rounds."""

    name: str
    """``torch eager`` or ``torch.compile``."""
    timings: tuple[Timing, ...]

    @property
    def alone(self) -> Timing | None:
        """Timing of one request on one thread; ``None`` if it was not measured."""
        return _alone(self.timings)


SCHEMA_VERSION = 1


class PackedVariant(Frozen):
    """One variant in the artifact."""

    variant: Variant
    file: str
    precision: str
    """``fp32``, the precision of the variant's quantization method, or ``unknown`` for a graph quantized elsewhere."""
    exporter: str = ""
    """What made the graph that the variant comes from, in words: an exporter of torch with its version, or the producer
    that a given file names. Empty in artifacts of before it was recorded."""
    passed: bool
    reasons: tuple[str, ...] = ()
    """Why the gates refused it; empty if it passed."""
    golden_atol: float
    """Largest absolute difference from the golden outputs at which a server becomes ready."""
    measurement: Measurement | None = None


class RefusedVariant(Frozen):
    """One variant that was refused or could not be built. The artifact has its record, but not its graph."""

    variant: Variant
    precision: str
    reasons: tuple[str, ...]
    measurement: Measurement | None = None


RunKind = Literal["train", "prune", "average", "score", "import"]
"""What a run did to the weights: trained them, removed channels and trained the rest, took the mean of two, only scored
them, or read them from a file of another program."""


class LineageRun(Frozen):
    """One run behind the weights, as its record describes it."""

    kind: RunKind
    command: str = ""
    run_id: str | None = None
    created: str | None = None
    """UTC, ISO 8601."""
    git_commit: str | None = None
    git_dirty: bool | None = None
    steps: int | None = None
    """Optimizer steps; ``None`` if they were not recorded."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the spec: of its data and of its network."""
    data_fingerprint: str | None = None
    """Fingerprint of the data that the run trained on."""
    weights: str | None = None
    """SHA-256 in hex of the checkpoint that the run wrote."""
    share: float | None = None
    """An average: share of the second parent, 0 to 1."""
    parents: tuple[int, ...] = ()
    """Positions in ``Provenance.runs`` of the runs whose weights it started from."""
    unknown: tuple[str, ...] = ()
    """What the record does not say."""


class Provenance(Frozen):
    """Where the model came from.

    ``git_commit`` and ``config`` are those of the run that made the weights; ``run_id`` and ``data_fingerprint`` are
    those of the newest run that trained them. ``metrics`` are their scores, which a later run may have computed.
    """

    created: str
    """UTC, ISO 8601."""
    git_commit: str | None = None
    git_dirty: bool | None = None
    spec: str | None = None
    """The import string, ``models/cards.py:Cards``; ``None`` for a wrapped ONNX file."""
    run_id: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    """The resolved training configuration."""
    metrics: dict[str, float] = Field(default_factory=dict)
    data_fingerprint: str | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    checkpoint: str | None = None
    """Address of the weights in a model registry, with the version that an alias named."""
    runs: tuple[LineageRun, ...] = ()
    """Every run behind the weights, the newest first. A run without parents began with the data, unless ``unknown``
    names what it began with."""


class Manifest(Frozen):
    """The contents of ``lading.json``."""

    schema_version: int = SCHEMA_VERSION
    name: str
    version: str = "1"
    description: str = ""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    chosen: str
    """The variant that is served by default: the fastest that passed."""
    score_name: str = "score"
    max_batch: int | None = Field(default=None, ge=1)
    """Most examples in one run of the graph; ``None``: any number. With 1, requests are served one by one."""
    variants: tuple[PackedVariant, ...]
    refused: tuple[RefusedVariant, ...] = ()
    notes: tuple[str, ...] = ()
    """What the scores do not show, such as labels that no test example has."""
    baselines: tuple[Baseline, ...] = ()
    machine: Machine | None = None
    provenance: Provenance
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 in hex of every file except this one, by path inside the folder."""


_ENVELOPE = 256_000  # bytes of a body that are not numbers: names, an id, a text
_LONGEST_NUMBER = 64  # bytes of a number in JSON, with indentation


def _names_of(spec: TensorSpec) -> int:
    """Bytes of the longest name that may stand for a number, and of that of its column, which each record repeats."""
    columns = [column.name for column in spec.columns] or ([spec.name] if spec.example_shape in ((), (1,)) else [])
    return 6 * sum(max((len(name.encode()) for name in names), default=0) for names in (spec.categories or (), columns))


@dataclass(frozen=True)
class ModelInfo:
    """One variant of one artifact, as codecs and the recorder see it."""

    name: str
    version: str
    variant: str
    digest: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch: int
    """Largest number of examples in one request."""

    @cached_property
    def largest_body(self) -> float:
        """Bytes that no request needs more of, as JSON or raw; infinite where files or dims have no limit."""
        limits = {spec.shape[spec.ragged_axis]: spec.max_rows for spec in self.inputs if spec.max_rows is not None}
        total: float = _ENVELOPE
        for spec in self.inputs:
            numbers: float = self.max_batch
            for dim in spec.shape:
                numbers *= dim if isinstance(dim, int) else 1 if dim == BATCH else limits.get(dim, math.inf)
            # A character of a string may be escaped: \u0001 is six bytes for one. Names of categories count as numbers.
            longest = 6 * spec.max_bytes if spec.dtype == "string" else max(_LONGEST_NUMBER, 32 + _names_of(spec))
            total += math.inf if spec.content is not None else numbers * longest
        return total


def manifest_json_schema() -> str:
    """Return the published JSON Schema of ``lading.json``."""
    schema = Manifest.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = f"lading.json, schema version {SCHEMA_VERSION}"
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
