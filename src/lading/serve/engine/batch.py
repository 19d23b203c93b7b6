"""A batch: jobs that one thread reads and runs, a lane or the event loop, and what becomes of each."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import structlog
from onnxruntime import RunOptions

from lading.errors import ExpiredError, InputShapeError, LadingError, UnanswerableError, forget_frames
from lading.serve.engine.model import Job, JobOutcome, ServedModel
from lading.serve.engine.pieces import Pieces
from lading.spec import BATCH, Array
from lading.tensors.checks import check_inputs
from lading.tensors.ragged import CheckedInputs, count_rows, group_requests, join_requests, part_outputs

log = structlog.get_logger("lading.lanes")

Entry = tuple[Job, CheckedInputs]
Outcomes = list[tuple[Job, JobOutcome]]
MEMORY = 0.05
"""Weight of the newest batch in the mean time of a request in a lane."""
EXPIRED = "the deadline passed while the request was waiting for a lane"
STOPPED = "the server stopped before the request was answered"
LOOP_S = 0.004
"""Maximum seconds that the event loop should spend on one request that it answers itself."""
LARGE_ANSWER = 32_768
"""Bytes of a request's outputs from which a lane writes the answer: JSON takes up to 100 ns per number."""
GAVE_UP = "the request took much longer than its deadline allows, and was given up"


class Batch:
    """Jobs that one thread works on. The thread writes, and the event loop reads, all but :attr:`lost`.

    Attributes:
        jobs: all of them.
        waiting: those that are not decoded yet. The thread takes them from the left, the loop may take the rest.
        current: those that are decoded or run now.
        outcomes: of those that are done.
        options: of the current run; ``None`` before the first. They can stop it.
        begin: on ``time.perf_counter``, in seconds.
        lost: set by the loop when it gives up waiting for the thread. What the thread returns then is ignored.
        on_loop: it is the loop that works on them.
        passed_on: jobs to run elsewhere: once they were read or run, they turned out to be too much for the loop.
    """

    __slots__ = ("begin", "current", "jobs", "lost", "model", "on_loop", "options", "outcomes", "passed_on", "waiting")

    def __init__(self, model: ServedModel, jobs: list[Job], *, on_loop: bool = False) -> None:
        self.on_loop = on_loop
        self.passed_on: list[Job] = []
        self.model, self.jobs = model, jobs
        self.waiting = deque(jobs)
        self.current: Sequence[Job] = ()
        self.outcomes: Outcomes = []
        self.options: RunOptions | None = None
        self.begin = time.perf_counter()
        self.lost = False

    def describe(self) -> dict[str, object]:
        """What it is, as fields of a log line."""
        return {
            "model": self.model.name,
            "request_ids": [job.request_id for job in (self.current or self.jobs)[:8]],
            "seconds": round(time.perf_counter() - self.begin, 1),
        }


def attempt_jobs(batch: Batch) -> None:
    """Run jobs; what no one foresaw is their outcome too, and does not end the thread."""
    try:
        run_jobs(batch)
    except BaseException as error:
        done = {id(job) for job, _ in batch.outcomes} | {id(job) for job in batch.passed_on}
        batch.outcomes += [(job, error) for job in batch.jobs if id(job) not in done]


def run_jobs(batch: Batch) -> None:
    """Decode jobs and run them in as few runs as their sizes allow."""
    model, outcomes = batch.model, batch.outcomes
    ready = _decoded(batch)
    if batch.on_loop:
        one_cost = not model.lengths
        ready = [entry for entry in ready if (one_cost and entry[1].rows == 1) or not _too_much(batch, *entry)]
    groups = [ready]
    if len(ready) != 1:
        parts_of = group_requests(model.inputs, [one for _, one in ready], model.batch, model.cost.seconds)
        groups = [[ready[place] for place in part] for part in parts_of]
    while groups and not batch.lost:
        group = groups.pop(0)
        jobs, requests = zip(*group, strict=True)
        alone = len(group) == 1
        batch.current = jobs
        batch.options = options = RunOptions()
        started = time.perf_counter()
        try:
            inputs = requests[0].arrays if alone and not model.padded else join_requests(model.inputs, requests)
            outputs = jobs[0].predictor.run(inputs, options)
        except Exception as error:
            if options.terminate and batch.on_loop:
                _pass_on(batch, group, groups)
                break
            if options.terminate:
                log.error("a run was stopped, long after its deadline", model=model.name, request_id=jobs[0].request_id)
                outcomes += [(job, ExpiredError(GAVE_UP)) for job in jobs]
                continue
            if not alone:
                groups[:0] = [[entry] for entry in group]  # one request's values must not fail the others
                continue
            outcomes.append((jobs[0], _failed(model, requests[0], error)))
            continue
        ended = time.perf_counter()
        rows = requests[0].rows if alone else sum([inputs.rows for inputs in requests])
        model.metrics.ran(ended - started, rows)
        parts = (
            [outputs] if alone and not model.padded else part_outputs(model.outputs, outputs, requests, model.padded)
        )
        for job, part in zip(jobs, parts, strict=True):
            if job.stages is not None:
                job.stages.inference, job.stages.rows = (started, ended), rows
            if not batch.on_loop:
                _write_large(job, part)
            outcomes.append((job, part))
    if ready and not batch.lost:
        seconds = (time.perf_counter() - batch.begin) / len(batch.jobs)
        model.service_seconds += MEMORY * (seconds - model.service_seconds)


def _failed(model: ServedModel, inputs: CheckedInputs, error: Exception) -> Exception:
    """The outcome of a request that failed alone. No operator is bound to take what is empty."""
    if isinstance(error, LadingError):
        return error
    empty = next((dim for dim, size in inputs.sizes.items() if size == 0), None)
    if empty is not None:
        return UnanswerableError(f"the model has no answer where {empty!r} is empty: send at least one")
    log.error("the model failed on a request", model=model.name, error=type(error).__name__)
    return error


def _too_much(batch: Batch, job: Job, inputs: CheckedInputs) -> bool:
    """Whether a few bytes hold so many examples that a lane should run them: they are passed on."""
    rows, model = inputs.rows, batch.model
    too_much = (
        model.cost.seconds(rows, model.lengths.of(inputs.sizes)) > LOOP_S or rows * model.row_bytes > LARGE_ANSWER
    )
    if too_much:
        batch.passed_on.append(job)
    return too_much


def _pass_on(batch: Batch, stopped: list[Entry], rest: list[list[Entry]]) -> None:
    """Have the jobs of a run that was stopped on the loop, and of those that would follow, run again one by one."""
    log.warning("a run took too long for the event loop, and its requests run again", **batch.describe())
    for group in (stopped, *rest):
        for job, _ in group:
            job.alone = True
            batch.passed_on.append(job)


def _write_large(job: Job, outputs: dict[str, Array]) -> None:
    """Write a large answer here, where it delays no other request. What it raises is raised again by the call."""
    size = 0
    for array in outputs.values():
        size += array.nbytes
    if size > LARGE_ANSWER:
        try:
            job.written = job.codec.write(outputs)
        except Exception as error:
            job.written = error


def _decoded(batch: Batch) -> list[Entry]:
    """The jobs that can run, with their inputs; the outcomes of all others are added to those of the batch."""
    model, waiting, outcomes = batch.model, batch.waiting, batch.outcomes
    ready: list[Entry] = []
    at = begin = batch.begin
    while waiting:
        try:
            job = waiting.popleft()
        except IndexError:  # the loop gave up waiting for this thread
            break
        batch.current = (job,)
        model.metrics.queue_duration.observe(begin - job.queued)
        if job.stages is not None:
            job.stages.queue = (job.queued, begin)
        if job.abandoned:
            outcomes.append((job, None))
            continue
        if at > job.deadline:
            outcomes.append((job, ExpiredError(EXPIRED)))
            continue
        try:
            inputs = _read(job)
        except Exception as error:
            model.metrics.violation(error)
            if isinstance(error, LadingError):
                forget_frames(error)  # they may hold a million objects, which the loop should not have to free
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
    arrays = job.inputs
    if arrays is None:  # otherwise it was read by a lane that hangs now
        body, job.body = job.body, None  # a large body should not wait for the run
        if isinstance(body, Pieces):
            body = body.take()
        job.inputs = arrays = job.codec.read(body)
        del body
    sizes = check_inputs(model.inputs, arrays)
    rows = sizes.get(BATCH) or count_rows(model.inputs, arrays)
    if rows > model.max_batch:
        raise InputShapeError(f"the request has {rows} examples; at most {model.max_batch} are accepted")
    return CheckedInputs(arrays, sizes, rows)
