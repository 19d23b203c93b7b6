"""Behind BentoML: the server ends when its worker does, as BentoML would say nothing and start another one.

BentoML's process looks for dead workers every ten seconds, and meanwhile the kernel accepts connections that no one
answers. A worker that cannot start is started again for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # BentoML brings it
import structlog

from lading.serve.health import WorkerGroup
from lading.serve.telemetry.metrics import SHARED_FOLDER
from lading.serve.worker_end import WorkerEnds
from lading.settings import Settings

log = structlog.get_logger("lading.supervisor")
LOOK_S = 0.5
"""Seconds between two looks for new workers."""
_ASKED = (0, -signal.SIGTERM, -signal.SIGINT)


class BentoWorkers(threading.Thread):
    """Watches the workers from BentoML's own process, without taking their exit status from it.

    With one worker, its end is the end of this process, with its exit code: the pod restarts the container and shows
    why. With several, the others answer while BentoML replaces one, so an end is logged and counted; but if none has
    ever been ready, the next would fail in the same way.

    Args:
        settings: how many workers.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="workers", daemon=True)
        self._count = settings.workers
        self._group: WorkerGroup | None = None
        """Known from the first worker: BentoML chooses the folder, and tells only the workers."""
        self._ends = WorkerEnds(None)
        self._running: set[int] = set()

    def run(self) -> None:
        while True:
            for worker in _workers():
                self._running.add(worker.pid)
                self._learn_folder(worker)
            for pid in list(self._running):
                # The only worker is waited for. Of several, each is looked at.
                code = _exit_code(pid, wait=self._count == 1)
                if code is None:
                    continue
                self._running.discard(pid)
                if code not in _ASKED:
                    self._ended(pid, code)
            time.sleep(LOOK_S)

    def _learn_folder(self, worker: psutil.Process) -> None:
        if self._count == 1 or self._group is not None:
            return
        with contextlib.suppress(psutil.Error, OSError, KeyError):
            self._group = WorkerGroup(Path(worker.environ()[SHARED_FOLDER]), self._count)
            self._ends = WorkerEnds(self._group.folder)

    def _ended(self, pid: int, code: int) -> None:
        none_was_ready = self._group is not None and self._group.missing == self._count
        hopeless = self._count == 1 or none_was_ready
        self._ends.note(pid, code, then="the server ends" if hopeless else "it is started again")
        if hopeless:
            for other in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(other, signal.SIGKILL)  # it was not ready, and outlives this process otherwise
            os._exit(code if code > 0 else 128 - code)


def _workers() -> Iterator[psutil.Process]:
    for child in psutil.Process().children():
        try:
            if any("_bentoml_impl" in word for word in child.cmdline()):
                yield child
        except psutil.Error:
            continue


def _exit_code(pid: int, *, wait: bool) -> int | None:
    """The exit code of a child, or its negative signal; ``None`` while it runs. BentoML can still collect it."""
    try:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | (0 if wait else os.WNOHANG))
    except ChildProcessError:
        return 0  # BentoML was first
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
