"""The lanes: threads that decode and infer with the GIL released, as many as there are CPUs to use.

A free lane takes the request that has waited longest, and with it others of the same model as far as a larger batch is
cheaper and no other lane stands idle. It never waits for a batch to fill: while lanes are busy a queue gathers by
itself, and that is the only time when a larger batch is worth anything.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

import structlog

from lading.errors import ExpiredError, LadingError
from lading.serve.engine.model import Job, JobOutcome, ServedModel
from lading.tensors.ragged import CheckedInputs, group_requests, join_requests, part_outputs

log = structlog.get_logger("lading.lanes")

Deliver = Callable[[list[tuple[Job, JobOutcome]]], None]


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
        # One ticket a job: the model whose queue holds it. Of several that were taken together, the rest find nothing.
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
            jobs = model.take(self._share(model))
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
    ready: list[tuple[Job, CheckedInputs]] = []
    at = begin
    for job in jobs:
        model.metrics.queue_duration.observe(begin - job.queued)
        if job.stages is not None:
            job.stages.queue = (job.queued, begin)
        if job.abandoned:
            outcomes.append((job, None))
        elif at > job.deadline:
            outcomes.append((job, ExpiredError("the deadline passed while the request was waiting for a lane")))
        else:
            try:
                job.inputs = job.codec.read(job.body)
                job.body = None  # a large body should not wait for the run
                inputs = model.check(job.inputs)
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
    for group in group_requests(model.inputs, [inputs for _, inputs in ready], model.batch):
        outcomes += _run(model, ready[group])
    if ready:
        model.took((time.perf_counter() - begin) / len(jobs))
    return outcomes


def _run(model: ServedModel, group: list[tuple[Job, CheckedInputs]]) -> list[tuple[Job, JobOutcome]]:
    requests = [inputs for _, inputs in group]
    begin = time.perf_counter()
    try:
        outputs = group[0][0].predictor.run(join_requests(model.inputs, requests))
    except Exception as error:
        if len(group) > 1:
            # One request's values must not fail its neighbours.
            return [outcome for entry in group for outcome in _run(model, [entry])]
        if not isinstance(error, LadingError):
            log.error("the model failed on a request", model=model.name, error=type(error).__name__)
        return [(group[0][0], error)]
    end = time.perf_counter()
    rows = sum(inputs.rows for inputs in requests)
    model.metrics.inference_duration.observe(end - begin)
    model.metrics.batch_size.observe(rows)
    for job, _ in group:
        if job.stages is not None:
            job.stages.inference, job.stages.rows = (begin, end), rows
    parts = part_outputs(model.outputs, outputs, requests)
    return [(job, part) for (job, _), part in zip(group, parts, strict=True)]
