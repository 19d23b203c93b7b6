"""How a worker process ended: said in the log, in the pod's termination message, and counted."""

from __future__ import annotations

import signal
from pathlib import Path

import structlog

from lading.machine import memory_limit, oom_kills
from lading.serve.engine.artifacts import leave_message

log = structlog.get_logger("lading.supervisor")
_COUNT = "workers-ended"
_MIB = 1 << 20


def how_it_ended(code: int, *, oom: bool = False) -> str:
    """A sentence about a worker's end.

    Args:
        code: exit code, or the negative number of the signal.
        oom: the kernel has killed a process of this container for memory.
    """
    if code >= 0:
        return f"a worker ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if name != "SIGKILL":
        return f"a worker was killed by {name}"
    limit = memory_limit()
    more = f": raise the memory limit, or serve less at once (now {limit // _MIB} MiB)" if limit else ""
    if oom:
        return f"a worker was killed by the kernel for memory (SIGKILL){more}"
    return f"a worker was killed by SIGKILL, most likely for memory{more}"


class WorkerEnds:
    """Tells of workers that ended without being asked to.

    Args:
        folder: where the workers share their metrics; ``None`` for one worker, which is not counted.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._oom = oom_kills()

    def note(self, pid: int, code: int, reason: str = "", *, then: str) -> str:
        """Log and count an end, and return the sentence.

        Args:
            pid: of the worker.
            code: exit code, or the negative number of the signal.
            reason: the error that the worker sent before, if any.
            then: what happens now.
        """
        kills = oom_kills()
        sentence = how_it_ended(code, oom=kills > self._oom)
        self._oom = kills
        log.error(f"{sentence}; {then}", pid=pid, exit_code=code, **({"reason": reason} if reason else {}))
        if self._folder is not None:
            file = self._folder / _COUNT
            file.write_text(str(ended_workers(self._folder) + 1))
        if code < 0:  # one that could exit has left its own message
            leave_message(sentence)
        return sentence


def ended_workers(folder: Path) -> int:
    """Number of workers that ended without being asked to, since the server started."""
    try:
        return int((folder / _COUNT).read_text() or 0)
    except (OSError, ValueError):
        return 0
