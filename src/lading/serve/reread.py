"""Files that are read again while the server runs: API keys and certificates."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from prometheus_client import Gauge

from lading.errors import SettingsError

log = structlog.get_logger("lading.credentials")

EVERY_S = 1.0
_REMIND_S = 60.0
_STALLED_S = 10.0


class Reread:
    """Reads a file once per second, in a thread of its own, so that a slow disk delays no request.

    A fault is loud: an error in the log when it appears and then once per minute, and a metric.

    Args:
        kind: label of the metric: ``keys`` or ``certificate``.
        read: reads and applies the file. Returns what is wrong, or an empty text. A SettingsError means that nothing
            was applied.
        unreadable: a gauge, 1 while something is wrong.
        clock: monotonic time in seconds.
    """

    def __init__(
        self, kind: str, read: Callable[[], str], unreadable: Gauge, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kind, self._read, self._clock = kind, read, clock
        self._unreadable = unreadable.labels(kind)
        self._fault = ""
        self._reported = 0.0
        self._began: float | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        # A daemon: the exit of the process does not wait for a disk that hangs.
        threading.Thread(target=self._work, name=f"reread-{self._kind}", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end. Returns at once."""
        self._stop.set()

    def look_again(self) -> None:
        """Read the file now. Raises nothing."""
        self._began = self._clock()
        try:
            fault = self._read()
        except SettingsError as error:
            fault = f"{error}; what was read before stays in use"
        except Exception as error:  # the thread must live, or no revocation is seen any more
            fault = repr(error)
        self._report(fault)
        self._began = None

    def notice_stall(self) -> None:
        """Set the metric if the thread has waited for the disk for longer than 10 s."""
        began = self._began
        if began is not None and self._clock() - began > _STALLED_S:
            self._unreadable.set(1)

    def _work(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.look_again()

    def _report(self, fault: str) -> None:
        self._unreadable.set(bool(fault))
        now = self._clock()
        if fault and (fault != self._fault or now - self._reported >= _REMIND_S):
            self._reported = now
            log.error("a credential file cannot be used as it is", kind=self._kind, reason=fault)
        elif self._fault and not fault:
            log.info("a credential file can be used again", kind=self._kind)
        self._fault = fault
