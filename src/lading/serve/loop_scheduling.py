"""How the kernel schedules the event loop's thread beside the lanes, which use the same cores."""

from __future__ import annotations

import os
from contextlib import suppress


class LoopScheduling:
    """Belongs to the thread that makes it.

    Usually a request that comes interrupts a lane, and so is soon under way. While requests are refused, each
    interruption is paid for with cold caches, the loop's and then the lane's, and gains nothing. A thread of
    ``SCHED_BATCH`` interrupts nobody: it is given the core when the lane's slice ends, some milliseconds later, and
    finds several requests.
    """

    def __init__(self) -> None:
        self._ours = os.sched_getscheduler(0) == os.SCHED_OTHER  # what somebody else has chosen is left alone
        self._patient = False

    def be_patient(self) -> None:
        """Interrupt no lane from now on."""
        if self._ours and not self._patient:
            # Threads that are begun meanwhile are not meant.
            self._set(os.SCHED_BATCH | os.SCHED_RESET_ON_FORK)
            self._patient = True

    def be_prompt(self) -> None:
        """As usual again."""
        if self._patient:
            self._set(os.SCHED_OTHER)
            self._patient = False

    def _set(self, policy: int) -> None:
        with suppress(OSError):  # a sandbox may forbid it, and nothing depends on it
            os.sched_setscheduler(0, policy, os.sched_param(0))
