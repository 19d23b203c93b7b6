"""Short runs on the event loop itself, for a server with one lane.

A second thread gains nothing on one CPU, and handing a request to it costs two switches of thread and two cold caches.
So a short run takes its turn on the event loop, between reading and writing sockets. What turns out to take long goes
to the lane: no picture, however small its file, keeps the sockets waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from lading.decode import pixel_budget
from lading.errors import TakesLongError
from lading.serve.batch import CheckedInputs
from lading.serve.job import Job
from lading.serve.lanes import Deliver, attempt_jobs
from lading.serve.served_model import ServedModel

TURN_JOBS = 16
"""Most requests of one turn; they are read one after the other and then run one after the other, each stage with its
code in the cache."""
LARGEST = 250_000
"""Bytes of a body: what takes less than a few milliseconds to parse, as JSON too."""
PIXELS = 1_000_000
"""Of one request's pictures together: what takes less than a few milliseconds to decode."""


class Turns:
    """A queue whose runs are callbacks of the event loop; the models that wait come round in turn.

    Args:
        loop: the event loop.
        longest_s: seconds of a request that still counts as short, and about the length of a turn.
        deliver: called with finished jobs and their outcomes.
        hand_over: called with a job that turned out to take long.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, longest_s: float, deliver: Deliver, hand_over: Callable[[Job], None]
    ) -> None:
        self._loop = loop
        self._longest_s = longest_s
        self._deliver = deliver
        self._hand_over = hand_over
        # A call of _turn is due as long as this is not empty.
        self._waiting: dict[ServedModel, deque[Job]] = {}

    def takes(self, model: ServedModel, size: int) -> bool:
        """Whether a request of ``size`` bytes is short as far as can be told before it is read."""
        return model.service_seconds < self._longest_s and size <= LARGEST

    def put(self, job: Job) -> None:
        """Queue a job."""
        if not self._waiting:
            self._loop.call_soon(self._turn)
        self._waiting.setdefault(job.model, deque()).append(job)

    def _turn(self) -> None:
        """Run some requests of one model, and let the event loop look at its sockets before the next."""
        model, waiting = next(iter(self._waiting.items()))
        del self._waiting[model]
        short = int(self._longest_s / max(model.service_seconds, 1e-6))
        most = max(1, min(max(model.batch, TURN_JOBS), short))
        jobs = [waiting.popleft() for _ in range(min(len(waiting), most))]
        if waiting:
            self._waiting[model] = waiting  # behind the other models
        if self._waiting:
            self._loop.call_soon(self._turn)
        outcomes = attempt_jobs(model, jobs, self._read)
        for job, outcome in outcomes:
            if isinstance(outcome, TakesLongError):
                self._hand_over(job)
        self._deliver([entry for entry in outcomes if not isinstance(entry[1], TakesLongError)])

    def _read(self, job: Job) -> CheckedInputs:
        """Read a job unless that, or its run, takes long.

        Raises:
            TakesLongError: it does.
        """
        with pixel_budget(PIXELS):
            inputs = job.model.check(job.read())
        if inputs.rows > 1 and inputs.rows * job.model.service_seconds > self._longest_s:
            raise TakesLongError("the examples of this request take long")
        return inputs
