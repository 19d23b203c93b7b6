"""One variant of one artifact, loaded, verified, warmed, and with its own queue."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lading.artifact import Artifact
from lading.artifact.manifest import CostTable
from lading.content import content_of
from lading.predictor import Predictor
from lading.protocol.codec import Codec
from lading.protocol.plain import PlainModel, answer_end, classifier, labelled
from lading.serve.telemetry.metrics import Metrics
from lading.serve.telemetry.model_metrics import ModelMetrics
from lading.spec import BATCH, Array
from lading.tensors.checks import check_inputs
from lading.tensors.lengths import Lengths
from lading.tensors.ragged import CheckedInputs, count_rows, join_requests, joinable
from lading.tensors.random import random_inputs


class ServedModel:
    """What a request is answered by.

    Args:
        artifact: has the variant.
        variant: its name; the chosen one by default.
        metrics: where to record.
        threads: intra-op threads of the session.
        max_batch: most examples that one request may carry.
    """

    def __init__(
        self, artifact: Artifact, variant: str | None, metrics: Metrics, *, threads: int = 1, max_batch: int = 128
    ) -> None:
        self.artifact = artifact
        self.packed = artifact.variant(variant)
        manifest = artifact.manifest
        max_batch = min(max_batch, manifest.max_batch or max_batch)
        self.name, self.version, self.variant = manifest.name, manifest.version, self.packed.variant.name
        self.info = PlainModel(
            self.name,
            self.version,
            self.variant,
            artifact.digest,
            manifest.inputs,
            manifest.outputs,
            max_batch,
            classifier(artifact, self.variant),
            answer_end(manifest.outputs, self.name, self.variant),
            labelled(manifest.outputs),
        )
        self.inputs, self.outputs = manifest.inputs, manifest.outputs
        self.lengths = Lengths(self.inputs)
        self.padded = self.lengths.padded
        self.metrics = ModelMetrics(metrics, artifact, self.packed)
        self.cost = CostTable.of(self.packed.measurement)
        self.batch = min(max_batch, self.cost.best_batch) if joinable(self.inputs, self.outputs) else 1
        self.service_seconds = self.cost.seconds(1)
        """Mean seconds in a lane that one request takes, its decoding and its share of a run."""
        self.not_ready_because = "the model is being loaded"
        encoded = any(spec.content is not None for spec in self.inputs)
        self.run_seconds = math.inf if encoded else self.cost.seconds(1, self.lengths.longest)
        """T(1) of the longest request, as verify measured it; no bound where a few bytes may be a large picture."""
        self.row_bytes = sum(
            math.prod(self._most(dim) for dim in spec.shape) * spec.numpy_dtype.itemsize for spec in self.outputs
        )
        """Bytes of the outputs for one example, as far as their dims are fixed or bounded."""
        self.pending = 0
        """Requests accepted and not answered; counted by the engine."""
        self.queue: deque[Job] = deque()
        self.max_batch = max_batch
        self.threads = threads
        self.predictor: Predictor | None = None
        """The session that runs it; ``None`` when it is not loaded, not verified, or unloaded."""

    @property
    def ready(self) -> bool:
        """True once the golden outputs matched and the batch sizes were warmed, until it is closed."""
        return self.predictor is not None

    def _most(self, dim: int | str) -> int:
        """The size of a dim, or its bound; 1 where there is none."""
        if isinstance(dim, int):
            return dim
        return self.lengths.most(dim) or 1

    def load(self) -> None:
        """Open the session and the tokenizer, answer the golden inputs, and run every batch size once.

        Raises:
            ArtifactError: the graph cannot be opened.
            SpecError: reading requests needs a package that is not installed.
            NotReadyError: the golden outputs do not match.
        """
        for spec in self.inputs:
            if (content := content_of(spec)) is not None:
                content.prepare(spec)
        predictor = Predictor(self.artifact, self.variant, threads=self.threads)
        predictor.check_golden()
        inputs = self.artifact.golden_inputs()
        golden = CheckedInputs(inputs, check_inputs(self.inputs, inputs), count_rows(self.inputs, inputs))
        for size in self.cost.sizes:
            if 1 < size <= self.batch:
                count = max(1, round(self.lengths.rows(golden.sizes, size) / golden.rows))
                predictor.run(join_requests(self.inputs, [golden] * count))
        if self.lengths.pictures:
            # What the largest picture takes is taken now, so that a pod without it fails before it is ready.
            sizes = self.lengths.measured()[-1] | {BATCH: 1}
            predictor.run(random_inputs(self.inputs, sizes, np.random.default_rng(0)))
        self.predictor = predictor

    def close(self, because: str) -> None:
        """Take no more requests; those in the queue are still answered by the predictor they hold on to."""
        self.predictor = None
        self.not_ready_because = because


JobOutcome = dict[str, Array] | BaseException | None
"""A job's outputs, why there are none, or ``None`` when no one waits for them."""


class Job(ABC):
    """A request on its way through the engine.

    Attributes:
        model: answers it.
        codec: reads its body, in a lane.
        body: what the codec reads; dropped once it was read.
        size: bytes of the body.
        deadline: on ``time.perf_counter``, in seconds.
        stages: where to note when the request reached which stage; ``None`` where it is not traced.
        alone: set when its run took too long for the event loop. It shares no further one, and so delays no other.
        abandoned: set on the event loop when the client has gone. The job is dropped, unless a lane has begun with it.
        inputs: what the codec read, batch dim included; ``None`` until then.
        written: the answer, or why it cannot be written, where a lane has written it; ``None`` otherwise.
        known_id: its request id, once something needed it; empty until then.
        predictor, queued, expected: set by the engine: the session that runs it, the time of its acceptance on
            ``time.perf_counter``, and the expected seconds in a lane.
    """

    __slots__ = (
        "abandoned",
        "alone",
        "body",
        "codec",
        "deadline",
        "expected",
        "inputs",
        "known_id",
        "model",
        "predictor",
        "queued",
        "size",
        "stages",
        "written",
    )

    model: ServedModel
    codec: Codec[Any, Any]
    body: Any
    size: int
    deadline: float
    predictor: Predictor
    queued: float
    expected: float

    def __init__(self) -> None:
        self.abandoned = self.alone = False
        self.known_id = ""
        self.inputs: Mapping[str, Array] | None = None
        self.stages: Stages | None = None
        self.written: Any = None

    @property
    def request_id(self) -> str:
        """For log lines; empty where there is none."""
        return self.known_id

    @abstractmethod
    def done(self, result: Mapping[str, Array] | BaseException) -> None:
        """Called once, on the event loop, with the outputs or with why there are none, unless it was abandoned."""


Span = tuple[float, float]
"""From and until, on ``time.perf_counter``, in seconds."""


@dataclass(slots=True, eq=False)
class Stages:
    """Filled in by the lane; a stage that was not reached stays ``None``."""

    queue: Span | None = None
    decode: Span | None = None
    inference: Span | None = None
    rows: int = 0
    """Examples in the run that the request shared."""

    def seconds(self) -> dict[str, float]:
        """How long each stage took that was reached."""
        spans = {"queue": self.queue, "decode": self.decode, "inference": self.inference}
        return {name: span[1] - span[0] for name, span in spans.items() if span is not None}
