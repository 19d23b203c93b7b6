"""Runs of brief models on the event loop itself, without the way to a lane and back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from lading.errors import NotReadyError
from lading.serve.engine.batch import STOPPED, Batch, Outcomes, attempt_jobs
from lading.serve.engine.lanes import Lanes
from lading.serve.engine.model import Job
from lading.serve.engine.watch import LoopWatch


class LoopRuns:
    """The jobs of the loop's next turn. All methods belong to the loop.

    Args:
        loop: that runs them.
        lanes: take what turns out to be too much for the loop.
        answer: gets the outcomes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, lanes: Lanes, answer: Callable[[Outcomes], None]) -> None:
        self._loop, self._lanes, self._answer = loop, lanes, answer
        self._jobs: deque[Job] = deque()
        self._watch = LoopWatch()
        self._closed = False

    def put(self, job: Job) -> None:
        """Run a job soon."""
        if not self._jobs:
            self._loop.call_soon(self._turn)
        self._jobs.append(job)

    def close(self) -> None:
        """Pass no more jobs to a lane, and stop watching the loop."""
        self._closed = True
        self._watch.close()

    def _turn(self) -> None:
        """Run what came since the last turn: the loop reads every socket that has something before it comes here."""
        jobs = [self._jobs.popleft()]
        model = jobs[0].model
        most = 1 if jobs[0].alone else model.batch
        while self._jobs and len(jobs) < most and self._jobs[0].model is model and not self._jobs[0].alone:
            jobs.append(self._jobs.popleft())
        if self._jobs:
            self._loop.call_soon(self._turn)
        if not self._watch.started:
            self._watch.start()
        self._watch.batch = batch = Batch(model, jobs, on_loop=True)
        attempt_jobs(batch)
        self._watch.batch = None
        for job in batch.passed_on:
            if job.alone and len(jobs) > 1:
                self.put(job)  # one of them took too long, and the others should not wait for it
            elif self._closed:
                batch.outcomes.append((job, NotReadyError(STOPPED)))
            else:
                self._lanes.put(job)
        self._answer(batch.outcomes)
