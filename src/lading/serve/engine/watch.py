"""A thread that watches the event loop while it runs a brief model itself, and stops a run that does not end."""

from __future__ import annotations

import threading
import time

from lading.serve.engine.batch import Batch

LOOK_S = 0.1
"""Seconds between two looks."""
CLOSE_LOOK_S = 0.02
"""The same for a while after a run was stopped: more requests of its kind may follow."""
CLOSE_S = 10.0
"""How long that is."""
SIGHTS = 3
"""Looks in a row that find the same batch, from which its run is stopped. A process that is paused, or has no CPU, is
not looking either, so that this counts time in which the run could have continued."""


class LoopWatch:
    """Watches one event loop. What it stops is not failed: the batch passes its jobs on to a lane.

    Attributes:
        batch: what the loop works on now; ``None`` while it runs no model. Set by the loop.
        started: it watches, or has done so.
    """

    def __init__(self) -> None:
        self.batch: Batch | None = None
        self.started = False
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin to watch."""
        self.started = True
        threading.Thread(target=self._watch, name="loop-watch", daemon=True).start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()

    def _watch(self) -> None:
        seen, sights, close_until = self.batch, 0, 0.0
        while not self._ended.wait(CLOSE_LOOK_S if time.perf_counter() < close_until else LOOK_S):
            batch = self.batch
            if batch is None or batch is not seen:
                seen, sights = batch, 1
                continue
            sights += 1
            # The options are those of the current run, or of one that has just ended: then the next look finds these.
            if sights >= SIGHTS and batch.options is not None:
                batch.options.terminate = True
                close_until = time.perf_counter() + CLOSE_S
