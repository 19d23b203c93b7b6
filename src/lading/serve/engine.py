"""The one place where a request meets the model: lanes, a bounded queue, readiness, draining.

Batching and admission by deadline belong here too; what calls :meth:`Engine.infer` need not know of either.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import structlog

from lading.artifact import Artifact
from lading.errors import LadingError, NotReadyError, OverloadedError
from lading.machine import usable_cpus
from lading.metrics import Metrics
from lading.predictor import Predictor
from lading.settings import Settings
from lading.spec import Array, TensorSpec

log = structlog.get_logger("lading.engine")

Read = Callable[[], Mapping[str, Array]]
"""Turns a request's bytes into arrays, batch dim included. Runs in a lane, and may raise RequestError."""

_MEMORY = 0.05  # weight of the newest run in the mean run time


class Engine:
    """Runs one variant of an artifact on k lanes: threads that decode and infer with the GIL released.

    Args:
        artifact: what to serve.
        settings: lanes, threads, and how many requests may wait.
        metrics: where to record.
    """

    def __init__(self, artifact: Artifact, settings: Settings, metrics: Metrics) -> None:
        self.artifact = artifact
        self.packed = artifact.variant(settings.variant)
        self.lanes = settings.lanes or max(1, math.floor(usable_cpus() / settings.threads))
        self.not_ready_because = "the model is being loaded"
        self._settings = settings
        self._metrics = metrics
        self._predictor: Predictor | None = None
        self._pool = ThreadPoolExecutor(self.lanes, thread_name_prefix="lane")
        self._limit = self.lanes + settings.max_queue
        self._pending = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._mean_seconds = 0.0
        metrics.usable_cpus.set(usable_cpus())
        metrics.ready.set(0)

    @property
    def ready(self) -> bool:
        """True once the golden outputs matched, until :meth:`stop`."""
        return self._predictor is not None

    async def start(self) -> None:
        """Load the variant and answer the golden inputs. On failure the engine stays not ready and says why."""
        loop = asyncio.get_running_loop()
        try:
            self._predictor = await loop.run_in_executor(self._pool, self._load)
        except LadingError as error:
            self.not_ready_because = str(error)
            log.error("not ready", reason=str(error))
            return
        except Exception as error:
            self.not_ready_because = f"the model cannot be loaded: {type(error).__name__}"
            log.exception("not ready")
            return
        self._metrics.ready.set(1)
        log.info(
            "ready",
            model=self.artifact.manifest.name,
            version=self.artifact.manifest.version,
            variant=self.packed.variant.name,
            digest=self.artifact.digest[:19],
            lanes=self.lanes,
        )

    async def stop(self) -> None:
        """Refuse new requests, and return when every accepted one has been answered."""
        self._predictor = None
        self.not_ready_because = "the server is shutting down"
        self._metrics.ready.set(0)
        await self._idle.wait()
        self._pool.shutdown(wait=True)

    def admit(self) -> Predictor:
        """Return the predictor, or refuse: cheap, so that it can come before a body is read.

        Raises:
            NotReadyError: not loaded, not verified, or shutting down.
            OverloadedError: as many requests are waiting as may.
        """
        if self._predictor is None:
            raise NotReadyError(f"not ready: {self.not_ready_because}")
        if self._pending >= self._limit:
            wait = self._pending * self._mean_seconds / self.lanes
            raise OverloadedError(
                f"{self._pending} in progress or waiting, which is as many requests as may: send it again later",
                retry_after_s=max(1, math.ceil(wait)),
            )
        return self._predictor

    async def infer(self, read: Read) -> dict[str, Array]:
        """Read one request and answer it, both in a lane.

        Args:
            read: gives the model's inputs, batch dim included.

        Returns:
            Arrays by output name, batch dim included.

        Raises:
            RequestError: what ``read`` or the check of its arrays refused.
            NotReadyError, OverloadedError: as :meth:`admit`.
        """
        predictor = self.admit()
        self._pending += 1
        self._idle.clear()
        job = asyncio.get_running_loop().run_in_executor(self._pool, self._run, predictor, read)
        # A caller that goes away does not free its lane, so the count follows the job and not the caller.
        job.add_done_callback(self._finished)
        return await asyncio.shield(job)

    def _finished(self, job: asyncio.Future[dict[str, Array]]) -> None:
        self._pending -= 1
        if self._pending == 0:
            self._idle.set()
        if not job.cancelled():
            job.exception()  # read, so that an answer nobody waits for is not reported as forgotten

    def _run(self, predictor: Predictor, read: Read) -> dict[str, Array]:
        begin = time.perf_counter()
        inputs = read()
        decoded = time.perf_counter()
        outputs = predictor(inputs)
        end = time.perf_counter()
        self._metrics.decode_duration.observe(decoded - begin)
        self._metrics.inference_duration.observe(end - decoded)
        self._metrics.batch_size.observe(rows(predictor.inputs, inputs))
        self._mean_seconds += _MEMORY * (end - begin - self._mean_seconds)
        return outputs

    def _load(self) -> Predictor:
        predictor = Predictor(self.artifact, self.packed.variant.name, threads=self._settings.threads)
        predictor.check_golden()
        return predictor


def rows(specs: tuple[TensorSpec, ...], inputs: Mapping[str, Array]) -> int:
    """How many examples checked inputs hold: the size of the batch dim, or how many owners are named."""
    for spec in specs:
        if spec.batched and not spec.owner_of:
            return int(inputs[spec.name].shape[0])
        if spec.owner_of:
            return int(inputs[spec.name][-1]) + 1
    return 1
