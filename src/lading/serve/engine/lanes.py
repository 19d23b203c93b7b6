"""The lanes: threads that decode and infer with the GIL released, as many as there are CPUs to use.

A free lane takes the request that has waited longest, and with it others of the same model as far as a larger batch is
cheaper and no other lane stands idle. It never waits for a batch to fill: while lanes are busy a queue gathers by
itself, and that is the only time when a larger batch is worth anything.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue

import structlog

from lading.errors import ExpiredError, LadingError
from lading.serve.engine.batch import GAVE_UP, Batch, Outcomes, attempt_jobs
from lading.serve.engine.model import Job, ServedModel

log = structlog.get_logger("lading.lanes")

LOST = 4
"""Threads that may hang at once besides the lanes, or one per lane if that is more. Each keeps its memory."""


class Lane:
    """One thread and what it works on.

    Attributes:
        batch: ``None`` while it is idle.
        overdue_s: seconds that the current work has continued past its deadline while the server was running.
        stopped: ONNX Runtime was asked to stop the current run.
        replaced: another thread has this lane's place, or there are fewer lanes now. This one ends when it returns.
    """

    def __init__(self, number: int, work: Callable[[Lane], None]) -> None:
        self.number = number
        self.batch: Batch | None = None
        self.current: Sequence[Job] = ()
        self.overdue_s = 0.0
        self.stopped = False
        self.replaced = False
        self.thread = threading.Thread(target=work, args=(self,), name=f"lane-{number}", daemon=True)
        self.thread.start()

    def look(self, now: float, passed_s: float) -> None:
        """Count how long the current work has been overdue. ``passed_s`` is the time since the last look."""
        batch = self.batch
        current = batch.current if batch is not None else ()
        if current and current is self.current and now > max(job.deadline for job in current):
            self.overdue_s += passed_s
        else:
            self.overdue_s, self.stopped = 0.0, False
        self.current = current

    def stop_run(self) -> None:
        """Ask ONNX Runtime to stop the current run. It does so between two nodes of the graph."""
        self.stopped = True
        batch = self.batch
        options = batch.options if batch is not None else None
        # In this order: a thread that has begun another run since has set its jobs before its options.
        if options is not None and batch is not None and batch.current is self.current:
            options.terminate = True

    def describe(self) -> dict[str, object]:
        """What it is doing, as fields of a log line."""
        batch = self.batch
        if batch is None:
            return {"lane": self.number}
        frame = sys._current_frames().get(self.thread.ident or 0)
        return {
            "lane": self.number,
            **batch.describe(),
            "at": f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}" if frame else "",
        }


class Lanes:
    """k threads fed from one queue. One that hangs is replaced.

    Args:
        count: of threads.
        deliver: called from a lane with a finished batch.
        wedged_s: seconds that decoding or a run may continue past its deadline.
    """

    def __init__(self, count: int, deliver: Callable[[Batch], None], wedged_s: float) -> None:
        self.count = count
        self.stuck = False
        """A lane hangs, or has died, and cannot be replaced."""
        self._deliver = deliver
        self._wedged_s = wedged_s
        # One ticket per job: the model whose queue holds it. When a lane takes several jobs, the rest find none.
        self._tickets: SimpleQueue[ServedModel | None] = SimpleQueue()
        self._lost: list[Lane] = []
        self._lanes = [Lane(number, self._work) for number in range(count)]
        self.look_every_s = min(1.0, wedged_s / 4)
        self._looked = time.perf_counter()

    def put(self, job: Job) -> None:
        """Queue a job."""
        job.model.queue.append(job)
        self._tickets.put(job.model)

    def resize(self, count: int) -> None:
        """Change the number of threads. One that works ends after its batch, one that waits at the next ticket."""
        self.count = count
        kept = [lane for lane in self._lanes if not lane.replaced]
        for lane in kept[count:]:
            lane.replaced = True
        new = [Lane(number, self._work) for number in range(len(kept), count)]
        self._lanes = [*self._lanes, *new]

    def replace_hanging(self) -> tuple[int, Outcomes]:
        """Stop runs that are long overdue, and replace lanes that continue in spite of it. Call it regularly.

        Returns:
            How many lanes were replaced, and the outcomes of what they worked on.
        """
        now = time.perf_counter()
        # A process that was paused, or that had no CPU, has given its lanes no time either.
        passed_s = min(now - self._looked, 2 * self.look_every_s)
        self._looked = now
        self._lost = [lane for lane in self._lost if lane.thread.is_alive()]
        self._lanes = [lane for lane in self._lanes if not lane.replaced or _works(lane)]
        replaced, outcomes, stuck = 0, Outcomes(), False
        for place, lane in enumerate(self._lanes):
            lane.look(now, passed_s)
            if lane.thread.is_alive() or lane.replaced:
                if lane.overdue_s <= self._wedged_s:
                    continue
                if not lane.stopped:
                    lane.stop_run()
                    continue
            if len(self._lost) < max(LOST, self.count):
                self._lost.append(lane)
                if lane.replaced:  # there are fewer lanes now; the next look leaves it out
                    log.error("a lane hangs that is not needed any more", **lane.describe())
                else:
                    log.error("a lane hangs and is replaced", **lane.describe())
                    lane.replaced = True
                    self._lanes[place] = Lane(lane.number, self._work)
                    replaced += 1
            else:
                stuck = True
                if not self.stuck:
                    log.error(
                        "a lane hangs and cannot be replaced: too many hang", hanging=len(self._lost), **lane.describe()
                    )
            outcomes += self._give_up(lane, now, ExpiredError(GAVE_UP))
        self.stuck = stuck
        return replaced, outcomes

    def running(self) -> list[dict[str, object]]:
        """What lanes, replaced ones too, are working on."""
        return [lane.describe() for lane in (*self._lanes, *self._lost) if lane.batch and lane.thread.is_alive()]

    def give_up_all(self, error: LadingError) -> Outcomes:
        """The outcomes of every batch, for a server that waits no longer."""
        return [outcome for lane in self._lanes for outcome in self._give_up(lane, math.inf, error)]

    def close(self, seconds: float) -> bool:
        """End the threads once the queue is empty.

        Returns:
            False when some have not ended after this long.
        """
        lanes = (*self._lanes, *self._lost)
        for _ in lanes:
            self._tickets.put(None)
        until = time.monotonic() + seconds
        for lane in lanes:
            lane.thread.join(max(0.0, until - time.monotonic()))
        return not any(lane.thread.is_alive() for lane in lanes)

    def _give_up(self, lane: Lane, now: float, error: LadingError) -> Outcomes:
        """The outcomes of a batch whose thread hangs. What it has not begun goes to another lane if there is time."""
        batch = lane.batch
        if batch is None or batch.lost:
            return []
        batch.lost = True
        outcomes = list(batch.outcomes)
        done = {id(job) for job, _ in outcomes}
        spared = set()
        while batch.waiting:
            with suppress(IndexError):  # its thread returned and took it just now
                spared.add(id(batch.waiting.popleft()))
        for job in batch.jobs:
            if id(job) in done:
                continue
            decoded = job.inputs is not None and job not in batch.current
            if (decoded or id(job) in spared) and job.deadline > now:
                self.put(job)
            else:
                outcomes.append((job, error))
        return outcomes

    def _work(self, lane: Lane) -> None:
        while (model := self._tickets.get()) is not None:
            if lane.replaced:
                self._tickets.put(model)
                return
            jobs = _take(model.queue, self._share(model))
            if not jobs:
                continue
            lane.batch = batch = Batch(model, jobs)
            attempt_jobs(batch)
            lane.batch = None
            self._deliver(batch)
            if lane.replaced:
                return

    def _share(self, model: ServedModel) -> int:
        """How many jobs to take: a fair share of what waits, at most the model's best batch."""
        if model.batch == 1:
            return 1
        idle = max(1, sum([lane.batch is None for lane in self._lanes]))
        return min(model.batch, max(1, -(-len(model.queue) // idle)))


def _works(lane: Lane) -> bool:
    """Whether a lane that is not needed any more still has a batch that may be answered."""
    return lane.thread.is_alive() and not (lane.batch is not None and lane.batch.lost)


def _take(queue: deque[Job], most: int) -> list[Job]:
    """Take up to ``most`` jobs, or one that runs alone; none when another lane took them."""
    jobs: list[Job] = []
    try:
        while len(jobs) < most:
            job = queue.popleft()
            if job.alone and jobs:
                queue.appendleft(job)
                break
            jobs.append(job)
            if job.alone:
                break
    except IndexError:
        pass
    return jobs
