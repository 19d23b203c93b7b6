"""How the kernel schedules the event loop's thread beside the lanes, which use the same cores."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress


class LoopScheduling:
    """Acts on the thread that calls it: the loop's.

    Usually a request that comes interrupts a lane, and so is soon under way. While requests are refused, each
    interruption is paid for with cold caches, the loop's and then the lane's, and gains nothing. A thread of
    ``SCHED_BATCH`` interrupts nobody: it is given the core when the lane's slice ends, some milliseconds later, and
    finds several requests.
    """

    def __init__(self) -> None:
        self._patient = False
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
        """Interrupt no lane from now on, unless somebody else has chosen a policy."""
        # A sandbox may forbid it, and nothing depends on it.
        with suppress(OSError):
            if not self._patient and os.sched_getscheduler(0) == os.SCHED_OTHER:
                self._inheritable = self._patient = True
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

    def be_prompt(self) -> None:
        """As usual again."""
        with suppress(OSError):
            if self._patient:
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
                self._patient = False
