"""One variant of one artifact, loaded, verified, warmed, and with its own queue."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from lading.artifact import Artifact
from lading.manifest import CostTable
from lading.predictor import Predictor
from lading.protocol.codec import Codec
from lading.protocol.plain import PlainModel, answer_end, classifier
from lading.serve.metrics import Metrics
from lading.spec import Array
from lading.tensors.checks import check_inputs
from lading.tensors.ragged import CheckedInputs, count_rows, join_requests, joinable


class ServedModel:
    """What a request is answered by.

    Args:
        artifact: where the variant lies.
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
        )
        self.inputs, self.outputs = manifest.inputs, manifest.outputs
        self.metrics = metrics.model(artifact, self.packed)
        self.cost = CostTable(self.packed.measurement.cost if self.packed.measurement else {})
        self.batch = self.cost.best_batch if joinable(self.inputs, self.outputs) else 1
        self.service_seconds = self.cost.seconds(1)
        """Mean seconds in a lane that one request takes, its decoding and its share of a run."""
        self.not_ready_because = "the model is being loaded"
        encoded = any(spec.content is not None for spec in self.inputs)
        self.run_seconds = math.inf if encoded else self.service_seconds
        """T(1) as verify measured it; no bound where a few bytes may decode to a large picture."""
        self.pending = 0
        """Requests accepted and not answered; counted by the engine."""
        self.queue: SimpleQueue[Job] = SimpleQueue()
        self.max_batch = max_batch
        self.threads = threads
        self.predictor: Predictor | None = None
        """The session that runs it; ``None`` when it is not loaded, not verified, or unloaded."""

    @property
    def ready(self) -> bool:
        """True once the golden outputs matched and the batch sizes were warmed, until it is closed."""
        return self.predictor is not None

    def load(self) -> None:
        """Open the session, answer the golden inputs, and run every batch size once.

        Raises:
            ArtifactError: the graph cannot be opened.
            NotReadyError: the golden outputs do not match.
        """
        predictor = Predictor(self.artifact, self.variant, threads=self.threads)
        predictor.check_golden()
        inputs = self.artifact.golden_inputs()
        golden = CheckedInputs(inputs, check_inputs(self.inputs, inputs), count_rows(self.inputs, inputs))
        for size in self.cost.sizes:
            if 1 < size <= self.batch:
                predictor.run(join_requests(self.inputs, [golden] * max(1, round(size / golden.rows))))
        self.predictor = predictor
        self.metrics.ready.set(1)

    def close(self, because: str) -> None:
        """Take no more requests; those in the queue are still answered by the predictor they hold on to."""
        self.predictor = None
        self.not_ready_because = because
        self.metrics.ready.set(0)


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
        abandoned: set on the event loop when the client has gone. The job is dropped, unless a lane has begun with it.
        inputs: what the codec read, batch dim included; ``None`` until then.
        predictor, queued, expected: set by the engine: the session that runs it, the time of its acceptance on
            ``time.perf_counter``, and the expected seconds in a lane.
    """

    __slots__ = (
        "abandoned",
        "body",
        "codec",
        "deadline",
        "expected",
        "inputs",
        "model",
        "predictor",
        "queued",
        "size",
        "stages",
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
        self.abandoned = False
        self.inputs: Mapping[str, Array] | None = None
        self.stages: Stages | None = None

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
