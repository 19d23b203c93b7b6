"""The one place where a request meets a model: admission by deadline, one queue, readiness, draining.

The service time of a small model hardly varies, so it is known beforehand when a request would be done. One that cannot
be done in time is refused before its body is read, and what was accepted is answered in time.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import structlog

from lading.errors import ExpiredError, NotReadyError, OverloadedError
from lading.machine import usable_cpus
from lading.serve.engine.batch import EXPIRED, STOPPED, Batch, Outcomes
from lading.serve.engine.lanes import Lanes
from lading.serve.engine.loop_runs import LoopRuns
from lading.serve.engine.model import Job, ServedModel
from lading.serve.engine.scheduling import LoopScheduling
from lading.serve.telemetry.metrics import Metrics
from lading.settings import Settings

log = structlog.get_logger("lading.engine")

Read = TypeVar("Read")

PROMISED = 0.6
"""Share of the remaining time within which an accepted request should be done. The rest is for delays outside the
engine: bytes that wait in sockets, sending, and other programs on the same CPUs. A shorter queue answers as many."""
CAUTION = 1.15
"""Factor on the estimated time of the queue, so that an accepted request is seldom late."""
SWEEP_S = 0.05
"""Minimum seconds between two looks through the queue for requests whose client has left."""
JOIN_S = 1.0
"""Seconds for idle lanes to end."""
BRIEF_BYTES = 16_384
"""A larger body goes to a lane whatever the model: its parsing may take longer than a run."""
SMALL_BODY = 16_384
"""A body up to this size needs no room among the bytes: only the number of such bodies is limited."""
LOOK_AT_CPUS_S = 1.0
"""Minimum seconds between two looks at the CPUs, whose number changes when a running pod is resized."""
MIN_UPLOADS = 64
"""Unfinished uploads that are accepted even if fewer requests may wait."""


class Engine:
    """Runs models on k lanes. All its methods belong to the event loop it was started on.

    Args:
        settings: lanes, threads, and how much may wait.
        metrics: where to record.
        cpus: CPUs that the process may use now. Lanes and admission follow it, unless the settings fix the lanes.
    """

    def __init__(self, settings: Settings, metrics: Metrics, cpus: Callable[[], float] = usable_cpus) -> None:
        self._settings, self._metrics = settings, metrics
        self.cpus = cpus
        """How many CPUs may be used now. Read once per second."""
        self.models: Callable[[], Iterable[ServedModel]] = tuple
        """All models that are served; the repository sets it."""
        self._usable = cpus()
        self._looked_at_cpus = time.perf_counter()
        self.lanes = lane_count(settings, self._usable)
        self.draining = False
        self._wedged_s = settings.wedged_s
        self._max_bytes = settings.max_queue_bytes
        self._pending = 0
        self._bytes = 0
        self._uploads = 0  # bodies that are still arriving
        self._upload_bytes = 0
        self._backlog = 0.0  # seconds in a lane that all accepted requests are expected to take
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: Lanes | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._aside: ThreadPoolExecutor | None = None
        self._scheduling = LoopScheduling()
        self._loop_runs: LoopRuns | None = None
        self._next_look: asyncio.TimerHandle | None = None
        self._busy: set[ServedModel] = set()  # models with requests that are not answered
        self._next_expiry = math.inf  # no deadline of a waiting request is sooner
        self._set_limits()
        metrics.queue_limit.set(settings.max_queue)
        metrics.compute(metrics.queue_length, lambda: max(0, self._pending - self.lanes))

    def _set_limits(self) -> None:
        """All that follows from the CPUs and the number of lanes."""
        self._brief_s = self._settings.brief_ms / 1e3 / self.lanes
        self._limit = self.lanes + self._settings.max_queue
        self._upload_limit = max(MIN_UPLOADS, self._limit)
        self._metrics.usable_cpus.set(self._usable)
        self._metrics.lanes.set(self.lanes)

    @property
    def alive(self) -> bool:
        """False when a lane hangs, or has died, and cannot be replaced."""
        return self._threads is None or not self._threads.stuck

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
        self._executor = self._scheduling.executor("asyncio")
        self._aside = self._scheduling.executor("aside", 1)
        self._loop.set_default_executor(self._executor)
        self._threads = Lanes(self.lanes, self._deliver, self._wedged_s)
        self._loop_runs = LoopRuns(self._loop, self._threads, self._answer)
        self._look_at_lanes()

    async def stop(self, seconds: float) -> list[str]:
        """Refuse new requests, and return when every accepted one has been answered, or after ``seconds``.

        Returns:
            The lanes that still run. What they worked on, and what waited, has been answered with 503.
        """
        self.draining = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), max(0.0, seconds))
        threads, self._threads = self._threads, None  # a body that arrives from now on is refused
        if threads is None or self._loop_runs is None:
            return []
        self._loop_runs.close()
        if self._next_look is not None:
            self._next_look.cancel()
        running = threads.running()
        for lane in running:
            log.error("a lane still runs, and the server stops without it", **lane)
        if self._pending:
            error = NotReadyError(STOPPED)
            waiting = [model.queue.popleft() for model in self._busy for _ in range(len(model.queue))]
            self._answer([*threads.give_up_all(error), *((job, error) for job in waiting)])
        await asyncio.to_thread(threads.close, JOIN_S)
        return [f"lane {lane['lane']}" for lane in running]

    async def end_executor(self, seconds: float) -> list[str]:
        """End the threads of the loop's executor, and return those that have not ended after ``seconds``.

        Python would wait for them when it exits, for as long as they take.
        """
        if self._executor is None or self._aside is None:
            return []
        self._aside.shutdown(wait=False, cancel_futures=True)
        self._executor.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + seconds
        while (alive := [thread.name for thread in self._executor._threads if thread.is_alive()]) and (
            time.monotonic() < until
        ):
            await asyncio.sleep(0.005)
        return alive

    async def idle(self, model: ServedModel, seconds: float) -> None:
        """Return when no request of this model is left, or after ``seconds``."""
        until = time.monotonic() + seconds
        while model.pending and time.monotonic() < until:
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
            self._drop_late(now)
            expected = self.wait_seconds + model.service_seconds
        if self._pending and expected > PROMISED * (deadline - now):
            ms = round(expected * 1e3)
            self._shed("deadline", f"the answer would take about {ms} ms, and the deadline is sooner")

    def reserve(self, size: int) -> None:
        """Count a body that will arrive, before any of it is read. :meth:`release` gives the room back.

        Args:
            size: declared bytes; 0 when unknown.

        Raises:
            OverloadedError: too many bodies, or too many bytes, are arriving or waiting already.
        """
        if self._uploads >= self._upload_limit:
            self._shed("queue", f"{self._uploads} bodies are arriving, which is the maximum")
        # A request that is alone always fits, and slow large uploads do not keep small requests out.
        others = self._pending + self._uploads
        if size > SMALL_BODY and others and self._bytes + self._upload_bytes + size > self._max_bytes:
            self._shed_bytes(size)
        self._uploads += 1
        self._upload_bytes += size

    def extend(self, reserved: int, size: int) -> None:
        """Let a reservation grow: of a body whose size was not declared, ``size`` bytes have arrived so far.

        Raises:
            OverloadedError: too many bytes are arriving or waiting already. The reservation stays as it was.
        """
        others = self._pending + self._uploads - 1
        if size > SMALL_BODY and others and self._bytes + self._upload_bytes - reserved + size > self._max_bytes:
            self._shed_bytes(size - reserved)
        self._upload_bytes += size - reserved

    def release(self, size: int) -> None:
        """Give back a reservation of ``size`` bytes: the body is complete, or it will not come."""
        self._uploads -= 1
        self._upload_bytes -= size

    def submit(self, job: Job) -> None:
        """Answer a request that was admitted: in a lane, or on the loop when that takes next to no time.

        Its ``done`` is called on the loop, later.

        Raises:
            NotReadyError: the model was closed or the server has stopped since its admission.
            OverloadedError: the queue has filled up while the body arrived.
        """
        model, size = job.model, job.size
        if self._loop_runs is None or self._threads is None:
            raise NotReadyError(f"not ready: the server is {'shutting down' if self.draining else 'starting'}")
        if model.predictor is None:
            raise NotReadyError(f"not ready: {model.not_ready_because}")
        self._check_room(size)
        job.predictor = model.predictor
        job.queued = time.perf_counter()
        job.expected = expected = model.service_seconds
        self._next_expiry = min(self._next_expiry, job.deadline)
        self._pending += 1
        self._bytes += size
        self._backlog += expected
        if not model.pending:
            self._busy.add(model)
        model.pending += 1
        self._idle.clear()
        if job.codec.brief and size <= BRIEF_BYTES and self.brief(model):
            self._loop_runs.put(job)
        else:
            self._threads.put(job)

    async def aside(self, work: Callable[[bytes], Read], data: bytes) -> Read:
        """Read bytes in a thread, one request after another: what takes milliseconds, and comes before admission.

        It holds the interpreter lock, so more threads would gain nothing.

        Raises:
            NotReadyError: the engine was not started, or was stopped.
        """
        if self._loop is None or self._aside is None or self._threads is None:
            raise NotReadyError(f"not ready: the server is {'shutting down' if self.draining else 'starting'}")
        return await self._loop.run_in_executor(self._aside, work, data)

    def _check_room(self, size: int) -> None:
        if self._pending < self._limit and self._bytes + size <= self._max_bytes:
            return
        self._drop_late(time.perf_counter())
        if self._pending >= self._limit:
            self._shed("queue", f"{self._pending} in progress or waiting, which is as many requests as may")
        if self._bytes + size > self._max_bytes and self._pending:
            self._shed("bytes", f"the requests that wait hold {self._bytes} bytes, and no more fit")

    def _shed_bytes(self, size: int) -> None:
        held = self._bytes + self._upload_bytes
        self._shed("bytes", f"the requests that arrive or wait hold {held} bytes, and {size} more do not fit")

    def _drop_late(self, now: float) -> None:
        """Drop waiting requests that cannot be answered in time any more, before a new one is refused for them."""
        if now < self._next_expiry:
            return
        late, self._next_expiry = [], now + SWEEP_S
        for model in self._busy:
            for job in tuple(model.queue):
                if now < job.deadline and not job.abandoned:
                    self._next_expiry = min(self._next_expiry, job.deadline)
                    continue
                with suppress(ValueError):  # a lane has taken it just now
                    model.queue.remove(job)
                    late.append(job)
        self._answer([(job, ExpiredError(EXPIRED)) for job in late])

    def _look_at_lanes(self) -> None:
        """Replace lanes that hang, and answer what waits too long for one, now and from time to time."""
        if self._threads is None or self._loop is None:
            return
        replaced, outcomes = self._threads.replace_hanging()
        if replaced:
            self._metrics.lanes_replaced.inc(replaced)
        self._answer(outcomes)
        now = time.perf_counter()
        self._drop_late(now)
        if now - self._looked_at_cpus >= LOOK_AT_CPUS_S:
            self._looked_at_cpus = now
            self.follow_cpus()
        self._next_look = self._loop.call_later(self._threads.look_every_s, self._look_at_lanes)

    def follow_cpus(self) -> None:
        """Adapt lanes and admission to the CPUs that may be used now. It loses no request."""
        usable, before = self.cpus(), self._usable
        if usable == before:
            return
        lanes = lane_count(self._settings, usable)
        log.info("the usable CPUs have changed", cpus=usable, before=before, lanes=lanes, lanes_before=self.lanes)
        slower = self._lane_share(before, self.lanes) / self._lane_share(usable, lanes)
        for model in self.models():
            model.service_seconds *= slower  # at once, and later as measured
        self._usable, self.lanes = usable, lanes
        if self._threads is not None:
            self._threads.resize(lanes)
        self._set_limits()

    def _lane_share(self, cpus: float, lanes: int) -> float:
        """The part of its time in which a lane has a CPU, at most 1."""
        return min(1.0, cpus / (self._settings.workers * lanes * self._settings.threads))

    def _shed(self, reason: str, sentence: str) -> None:
        self._metrics.shed(reason)
        self._scheduling.be_patient()
        wait = self._backlog / self.lanes
        raise OverloadedError(f"{sentence}: send it again later", retry_after_s=max(1, math.ceil(wait)))

    def _deliver(self, batch: Batch) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._answer_batch, batch)

    def _answer_batch(self, batch: Batch) -> None:
        if not batch.lost:
            self._answer(batch.outcomes)

    def _answer(self, outcomes: Outcomes) -> None:
        for job, outcome in outcomes:
            self._pending -= 1
            self._bytes -= job.size
            self._backlog -= job.expected
            job.model.pending -= 1
            if not job.model.pending:
                self._busy.discard(job.model)
            if isinstance(outcome, ExpiredError):
                self._metrics.shed("expired")
            if outcome is not None and not job.abandoned:
                job.done(outcome)
        if self._scheduling.patient and self._pending <= self.lanes:
            self._scheduling.be_prompt()
        if self._pending == 0:
            self._backlog = 0.0  # what floating-point sums leave over
            self._idle.set()


def lane_count(settings: Settings, cpus: float) -> int:
    """Lanes of this worker: its part of one per ``settings.threads`` CPUs, unless the settings fix their number."""
    return settings.lanes or -(-max(1, math.floor(cpus / settings.threads)) // settings.workers)
