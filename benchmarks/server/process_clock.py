"""CPU time of another process."""

from __future__ import annotations

import time


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process, by Linux's clock of it. Other work hardly changes it."""
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9
