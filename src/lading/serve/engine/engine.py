"""The one place where a request meets a model: admission by deadline, one queue, readiness, draining.

The service time of a small model hardly varies, so it is known beforehand when a request would be done. One that cannot
be done in time is refused before its body is read, and what was accepted is answered in time.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog

from lading.errors import ExpiredError, NotReadyError, OverloadedError
from lading.machine import usable_cpus
from lading.serve.engine.lanes import Lanes, attempt_jobs
from lading.serve.engine.model import Job, JobOutcome, ServedModel
from lading.serve.metrics import Metrics
from lading.settings import Settings

log = structlog.get_logger("lading.engine")

PROMISED = 0.6
"""Share of the remaining time within which an accepted request should be done. The rest is for delays outside the
engine: bytes that wait in sockets, sending, and other programs on the same CPUs. A shorter queue answers as many."""
CAUTION = 1.15
"""Factor on the estimated time of the queue, so that an accepted request is seldom late."""
BRIEF_BYTES = 16_384
"""A larger body goes to a lane whatever the model: its parsing may take longer than a run."""


class Engine:
    """Runs models on k lanes. All its methods belong to the event loop it was started on.

    Args:
        settings: lanes, threads, and how much may wait.
        metrics: where to record.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.lanes = settings.lanes or max(1, math.floor(usable_cpus() / settings.threads))
        self.draining = False
        self._metrics = metrics
        self._brief_s = settings.brief_ms / 1e3 / self.lanes
        self._wedged_s = settings.wedged_s
        self._limit = self.lanes + settings.max_queue
        self._max_bytes = settings.max_queue_bytes
        self._pending = 0
        self._bytes = 0
        self._backlog = 0.0  # seconds in a lane that all accepted requests are expected to take
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: Lanes | None = None
        self._scheduling = LoopScheduling()
        self._brief: deque[Job] = deque()  # for the loop's own next turn
        metrics.usable_cpus.set(usable_cpus())
        metrics.lanes.set(self.lanes)
        metrics.queue_limit.set(settings.max_queue)
        metrics.queue_length.set_function(lambda: max(0, self._pending - self.lanes))

    @property
    def alive(self) -> bool:
        """False when a lane has died, or has been in one batch for longer than ``LADING_WEDGED_S``."""
        return self._threads is None or self._threads.alive(self._wedged_s)

    def brief(self, model: ServedModel) -> bool:
        """Whether small requests to this model are answered on the loop: with more lanes, less is gained by it."""
        return model.run_seconds <= self._brief_s

    @property
    def wait_seconds(self) -> float:
        """Expected wait for a lane of a request that is accepted now, in seconds."""
        return max(0.0, self._backlog / self.lanes) * CAUTION if self._pending >= self.lanes else 0.0

    def start(self) -> None:
        """Start the lanes."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(self._scheduling.executor())
        self._threads = Lanes(self.lanes, self._deliver)

    async def stop(self) -> None:
        """Refuse new requests, and return when every accepted one has been answered."""
        self.draining = True
        await self._idle.wait()
        threads, self._threads = self._threads, None  # a body that arrives from now on is refused
        if threads is not None:
            await asyncio.to_thread(threads.close)

    async def idle(self, model: ServedModel) -> None:
        """Return when no request of this model is left."""
        while model.pending:
            await asyncio.sleep(0.005)

    def admit(self, model: ServedModel, deadline: float, size: int = 0) -> None:
        """Refuse what cannot be answered in time: cheap, so that it comes before a body is read.

        Args:
            model: what the request is for.
            deadline: on ``time.perf_counter``, in seconds.
            size: bytes of the body, as far as known.

        Raises:
            NotReadyError: not loaded, not verified, or shutting down.
            OverloadedError: as many requests, or bytes, are waiting as may, or the queue is longer than the deadline.
            ExpiredError: the deadline has passed.
        """
        if self.draining:
            raise NotReadyError("not ready: the server is shutting down")
        if model.predictor is None:
            raise NotReadyError(f"not ready: {model.not_ready_because}")
        self._check_room(size)
        now = time.perf_counter()
        if now >= deadline:
            raise ExpiredError("the deadline has passed already")
        expected = self.wait_seconds + model.service_seconds
        # An idle server takes everything: what it knows of the model's speed may be out of date.
        if self._pending and expected > PROMISED * (deadline - now):
            ms = round(expected * 1e3)
            self._shed("deadline", f"the answer would take about {ms} ms, and the deadline is sooner")

    def submit(self, job: Job) -> None:
        """Answer a request that was admitted: in a lane, or on the loop when that takes next to no time.

        Its ``done`` is called on the loop, later.

        Raises:
            NotReadyError: the model was closed or the server has stopped since its admission.
            OverloadedError: the queue has filled up while the body arrived.
        """
        model, size = job.model, job.size
        if self._loop is None or self._threads is None:
            raise NotReadyError(f"not ready: the server is {'shutting down' if self.draining else 'starting'}")
        if model.predictor is None:
            raise NotReadyError(f"not ready: {model.not_ready_because}")
        self._check_room(size)
        job.predictor = model.predictor
        job.queued = time.perf_counter()
        job.expected = expected = model.service_seconds
        self._pending += 1
        self._bytes += size
        self._backlog += expected
        model.pending += 1
        self._idle.clear()
        if job.codec.brief and size <= BRIEF_BYTES and self.brief(model):
            if not self._brief:
                self._loop.call_soon(self._turn)
            self._brief.append(job)
        else:
            self._threads.put(job)

    def _check_room(self, size: int) -> None:
        if self._pending >= self._limit:
            self._shed("queue", f"{self._pending} in progress or waiting, which is as many requests as may")
        if self._bytes + size > self._max_bytes and self._pending:
            self._shed("bytes", f"the requests that wait hold {self._bytes} bytes, and no more fit")

    def _turn(self) -> None:
        """Run what came since the last turn: the loop reads every socket that has something before it comes here."""
        jobs = [self._brief.popleft()]
        model = jobs[0].model
        while self._brief and len(jobs) < model.batch and self._brief[0].model is model:
            jobs.append(self._brief.popleft())
        if self._brief:
            assert self._loop is not None
            self._loop.call_soon(self._turn)
        self._answer(attempt_jobs(model, jobs))

    def _shed(self, reason: str, sentence: str) -> None:
        self._metrics.shed(reason)
        self._scheduling.be_patient()
        wait = self._backlog / self.lanes
        raise OverloadedError(f"{sentence}: send it again later", retry_after_s=max(1, math.ceil(wait)))

    def _deliver(self, outcomes: list[tuple[Job, JobOutcome]]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._answer, outcomes)

    def _answer(self, outcomes: list[tuple[Job, JobOutcome]]) -> None:
        for job, outcome in outcomes:
            self._pending -= 1
            self._bytes -= job.size
            self._backlog -= job.expected
            job.model.pending -= 1
            if isinstance(outcome, ExpiredError):
                self._metrics.shed("expired")
            if outcome is not None and not job.abandoned:
                job.done(outcome)
        if self._scheduling.patient and self._pending <= self.lanes:
            self._scheduling.be_prompt()
        if self._pending == 0:
            self._backlog = 0.0  # what floating-point sums leave over
            self._idle.set()


class LoopScheduling:
    """Acts on the thread that calls it: the loop's.

    Usually a request that arrives interrupts a lane, and is read at once. While requests are refused, an interruption
    gains nothing and costs cold caches, the loop's and then the lane's. A thread of ``SCHED_BATCH`` interrupts none: it
    gets the core when the lane's time slice ends, some milliseconds later, and then finds several requests.
    """

    def __init__(self) -> None:
        self.patient = False
        self._inheritable = False

    def executor(self) -> ThreadPoolExecutor:
        """For the loop's default: its threads are as prompt as ever, also those first begun during patience.

        A thread inherits its parent's policy, and ``SCHED_RESET_ON_FORK`` resets no ``SCHED_BATCH`` (sched(7)).
        """
        return ThreadPoolExecutor(thread_name_prefix="asyncio", initializer=self._disinherit)

    def _disinherit(self) -> None:
        with suppress(OSError):
            if self._inheritable and os.sched_getscheduler(0) == os.SCHED_BATCH:
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

    def be_patient(self) -> None:
        """Interrupt no lane from now on, unless another policy was chosen from outside."""
        # A sandbox may forbid it, and nothing depends on it.
        with suppress(OSError):
            if not self.patient and os.sched_getscheduler(0) == os.SCHED_OTHER:
                self._inheritable = self.patient = True
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

    def be_prompt(self) -> None:
        """As usual again."""
        with suppress(OSError):
            if self.patient:
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
                self.patient = False
