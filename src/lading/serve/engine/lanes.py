"""The lanes: threads that decode and infer with the GIL released, as many as there are CPUs to use.

A free lane takes the request that has waited longest, and with it others of the same model as far as a larger batch is
cheaper and no other lane stands idle. It never waits for a batch to fill: while lanes are busy a queue gathers by
itself, and that is the only time when a larger batch is worth anything.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

import structlog

from lading.errors import ExpiredError, InputShapeError, LadingError
from lading.serve.engine.model import Job, JobOutcome, ServedModel
from lading.spec import BATCH
from lading.tensors.checks import check_inputs
from lading.tensors.ragged import CheckedInputs, count_rows, group_requests, join_requests, part_outputs

log = structlog.get_logger("lading.lanes")

Deliver = Callable[[list[tuple[Job, JobOutcome]]], None]
MEMORY = 0.05
"""Weight of the newest batch in the mean time of a request in a lane."""


class Lanes:
    """k threads fed from one queue.

    Args:
        count: of threads.
        deliver: called from a lane with finished jobs and their outcomes.
    """

    def __init__(self, count: int, deliver: Deliver) -> None:
        self.count = count
        self._deliver = deliver
        self._begun = [0.0] * count  # when each lane began its batch; 0 while idle
        # One ticket per job: the model whose queue holds it. When a lane takes several jobs, the rest find none.
        self._tickets: SimpleQueue[ServedModel | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, args=(lane,), name=f"lane-{lane}", daemon=True) for lane in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, job: Job) -> None:
        """Queue a job."""
        job.model.queue.put(job)
        self._tickets.put(job.model)

    def alive(self, wedged_after: float) -> bool:
        """Whether every lane runs, and none has been in one batch for longer than ``wedged_after`` seconds."""
        now = time.perf_counter()
        stuck = any(begun and now - begun > wedged_after for begun in self._begun)
        return not stuck and all(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """End the threads once the queue is empty."""
        for _ in self._threads:
            self._tickets.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, lane: int) -> None:
        while (model := self._tickets.get()) is not None:
            jobs = _take(model.queue, self._share(model))
            if not jobs:
                continue
            self._begun[lane] = time.perf_counter()
            outcomes = attempt_jobs(model, jobs)
            self._begun[lane] = 0.0
            self._deliver(outcomes)

    def _share(self, model: ServedModel) -> int:
        """How many jobs to take: a fair share of what waits, at most the model's best batch."""
        if model.batch == 1:
            return 1
        idle = max(1, self._begun.count(0.0))
        return min(model.batch, max(1, -(-model.queue.qsize() // idle)))


def attempt_jobs(model: ServedModel, jobs: list[Job]) -> list[tuple[Job, JobOutcome]]:
    """Run jobs; what no one foresaw is their outcome too, and does not end the thread."""
    try:
        return run_jobs(model, jobs)
    except BaseException as error:
        return [(job, error) for job in jobs]


def run_jobs(model: ServedModel, jobs: list[Job]) -> list[tuple[Job, JobOutcome]]:
    """Decode jobs and run them in as few batches as their sizes allow."""
    begin = time.perf_counter()
    outcomes: list[tuple[Job, JobOutcome]] = []
    ready = _decoded(model, jobs, begin, outcomes)
    groups = [ready]
    if len(ready) != 1:
        groups = [ready[part] for part in group_requests(model.inputs, [one for _, one in ready], model.batch)]
    while groups:
        group = groups.pop(0)
        requests = [inputs for _, inputs in group]
        alone = len(group) == 1
        started = time.perf_counter()
        try:
            outputs = group[0][0].predictor.run(requests[0].arrays if alone else join_requests(model.inputs, requests))
        except Exception as error:
            if not alone:
                groups[:0] = [[entry] for entry in group]  # one request's values must not fail the others
                continue
            if not isinstance(error, LadingError):
                log.error("the model failed on a request", model=model.name, error=type(error).__name__)
            outcomes.append((group[0][0], error))
            continue
        ended = time.perf_counter()
        rows = sum([inputs.rows for inputs in requests])
        model.metrics.inference_duration.observe(ended - started)
        model.metrics.batch_size.observe(rows)
        parts = [outputs] if alone else part_outputs(model.outputs, outputs, requests)
        for (job, _), part in zip(group, parts, strict=True):
            if job.stages is not None:
                job.stages.inference, job.stages.rows = (started, ended), rows
            outcomes.append((job, part))
    if ready:
        seconds = (time.perf_counter() - begin) / len(jobs)
        model.service_seconds += MEMORY * (seconds - model.service_seconds)
    return outcomes


def _decoded(
    model: ServedModel, jobs: list[Job], begin: float, outcomes: list[tuple[Job, JobOutcome]]
) -> list[tuple[Job, CheckedInputs]]:
    """The jobs that can run, with their inputs; the outcomes of all others are added to ``outcomes``."""
    ready: list[tuple[Job, CheckedInputs]] = []
    at = begin
    for job in jobs:
        model.metrics.queue_duration.observe(begin - job.queued)
        if job.stages is not None:
            job.stages.queue = (job.queued, begin)
        if job.abandoned:
            outcomes.append((job, None))
            continue
        if at > job.deadline:
            outcomes.append((job, ExpiredError("the deadline passed while the request was waiting for a lane")))
            continue
        try:
            inputs = _read(job)
        except Exception as error:
            model.metrics.violation(error)
            outcomes.append((job, error))
            at = time.perf_counter()
            continue
        decoded = time.perf_counter()
        model.metrics.decode_duration.observe(decoded - at)
        if job.stages is not None:
            job.stages.decode = (at, decoded)
        at = decoded
        ready.append((job, inputs))
    return ready


def _read(job: Job) -> CheckedInputs:
    """Read a job's body, and check its inputs.

    Raises:
        RequestError: the body cannot be read, or the model does not take what it holds.
    """
    model = job.model
    job.inputs = arrays = job.codec.read(job.body)
    job.body = None  # a large body should not wait for the run
    sizes = check_inputs(model.inputs, arrays)
    rows = sizes.get(BATCH) or count_rows(model.inputs, arrays)
    if rows > model.max_batch:
        raise InputShapeError(f"the request has {rows} examples; at most {model.max_batch} are accepted")
    return CheckedInputs(arrays, sizes, rows)


def _take(queue: SimpleQueue[Job], most: int) -> list[Job]:
    """Take up to ``most`` jobs; none when another lane took them."""
    jobs: list[Job] = []
    try:
        while len(jobs) < most:
            jobs.append(queue.get_nowait())
    except Empty:
        pass
    return jobs
