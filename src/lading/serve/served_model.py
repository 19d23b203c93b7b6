"""One variant of one artifact, loaded, verified, warmed, and with its own queue."""

from __future__ import annotations

import math
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from lading.artifact import Artifact, ModelInfo
from lading.errors import InputShapeError, NotReadyError
from lading.metrics import Metrics
from lading.predictor import Predictor
from lading.serve.batch import CheckedInputs, count_rows, join_requests, joinable
from lading.serve.classify import classifier
from lading.serve.cost_table import CostTable
from lading.serve.predict import answer_end
from lading.spec import Array
from lading.tensors import check_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lading.serve.job import Job

_MEMORY = 0.05  # weight of the newest batch in the mean service time


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
        self.info = ModelInfo(
            manifest.name,
            manifest.version,
            self.packed.variant.name,
            artifact.digest,
            manifest.inputs,
            manifest.outputs,
            max_batch,
        )
        self.name, self.version, self.variant = manifest.name, manifest.version, self.packed.variant.name
        self.inputs, self.outputs = manifest.inputs, manifest.outputs
        self.metrics = metrics.model(artifact, self.packed)
        self.cost = CostTable(self.packed.measurement.cost if self.packed.measurement else {})
        self.batch = self.cost.best_batch if joinable(self.inputs, self.outputs) else 1
        self.service_seconds = self.cost.seconds(1)
        """Mean seconds in a lane that one request takes, its decoding and its share of a run."""
        self.not_ready_because = "the model is being loaded"
        pictures = any(spec.content == "image" for spec in self.inputs)
        self.run_seconds = math.inf if pictures else self.service_seconds
        """T(1) as verify measured it; no bound where a few bytes may stand for a large picture."""
        self.pending = 0
        """Requests accepted and not answered; counted by the engine."""
        self.queue: SimpleQueue[Job] = SimpleQueue()
        self.classifier = classifier(artifact, self.variant)
        self.answer_end = answer_end(self.outputs, self.name, self.variant)
        self.max_batch = max_batch
        self.threads = threads
        self._predictor: Predictor | None = None

    @property
    def ready(self) -> bool:
        """True once the golden outputs matched and the batch sizes were warmed, until it is closed."""
        return self._predictor is not None

    @property
    def predictor(self) -> Predictor:
        """The loaded predictor.

        Raises:
            NotReadyError: not loaded, not verified, or unloaded.
        """
        if self._predictor is None:
            raise NotReadyError(f"model {self.name!r} is not ready: {self.not_ready_because}")
        return self._predictor

    def load(self) -> None:
        """Open the session, answer the golden inputs, and run every batch size once.

        Raises:
            ArtifactError: the graph cannot be opened.
            NotReadyError: the golden outputs do not match.
        """
        predictor = Predictor(self.artifact, self.variant, threads=self.threads)
        predictor.check_golden()
        golden = self.check(self.artifact.golden_inputs())
        for size in self.cost.sizes:
            if 1 < size <= self.batch:
                predictor.run(join_requests(self.inputs, [golden] * max(1, round(size / golden.rows))))
        self._predictor = predictor
        self.metrics.ready.set(1)

    def close(self, because: str) -> None:
        """Take no more requests; those in the queue are still answered by the predictor they hold on to."""
        self._predictor = None
        self.not_ready_because = because
        self.metrics.ready.set(0)

    def check(self, arrays: Mapping[str, Array]) -> CheckedInputs:
        """Check one request's inputs.

        Raises:
            RequestError: a missing, unknown or misshapen tensor, or more examples than one request may carry.
        """
        checked = CheckedInputs(arrays, check_inputs(self.inputs, arrays), count_rows(self.inputs, arrays))
        if checked.rows > self.max_batch:
            raise InputShapeError(f"the request has {checked.rows} examples; at most {self.max_batch} are accepted")
        return checked

    def take(self, most: int) -> list[Job]:
        """Take up to ``most`` requests from the queue; none when another lane took them."""
        jobs: list[Job] = []
        try:
            while len(jobs) < most:
                jobs.append(self.queue.get_nowait())
        except Empty:
            pass
        return jobs

    def took(self, seconds: float) -> None:
        """Remember how long a request took in its lane."""
        self.service_seconds += _MEMORY * (seconds - self.service_seconds)
