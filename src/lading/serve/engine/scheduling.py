"""How the event loop's thread shares the CPUs with the lanes while requests are refused."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

_CAN_WAIT = hasattr(os, "SCHED_BATCH")
"""Whether the system has this policy: Linux."""


class LoopScheduling:
    """Acts on the thread that calls it: the loop's.

    Usually a request that arrives interrupts a lane, and is read at once. While requests are refused, an interruption
    gains nothing and costs cold caches, the loop's and then the lane's. A thread of ``SCHED_BATCH`` interrupts none: it
    gets the core when the lane's time slice ends, some milliseconds later, and then finds several requests.
    """

    def __init__(self) -> None:
        self.patient = False
        self._inheritable = False

    def executor(self, name: str, threads: int | None = None) -> ThreadPoolExecutor:
        """Threads for the loop that are as prompt as ever, also those first begun during patience.

        A thread inherits its parent's policy, and ``SCHED_RESET_ON_FORK`` resets no ``SCHED_BATCH`` (sched(7)).

        Args:
            name: prefix of their names.
            threads: how many at most; Python's default if ``None``.
        """
        return ThreadPoolExecutor(threads, name, initializer=self._disinherit)

    def _disinherit(self) -> None:
        with suppress(OSError):
            if self._inheritable and os.sched_getscheduler(0) == os.SCHED_BATCH:
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

    def be_patient(self) -> None:
        """Interrupt no lane from now on, unless another policy was chosen from outside."""
        # A sandbox may forbid it, and nothing depends on it.
        with suppress(OSError):
            if _CAN_WAIT and not self.patient and os.sched_getscheduler(0) == os.SCHED_OTHER:
                self._inheritable = self.patient = True
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

    def be_prompt(self) -> None:
        """As usual again."""
        with suppress(OSError):
            if self.patient:
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
                self.patient = False
