"""``lading serve`` that measures the longest turn of its event loop, and the longest hold of the interpreter lock.

Both are CPU times. A busy machine lengthens the clock's times, and hardly these.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import mmap
import os
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from tests.given.live_server import wait_until
from tests.given.served_process import ServedProcess, serving
from tests.given.watched_server import chart_settings, on_one_cpu

PROGRAM = (sys.executable, "-m", "tests.given.ticking_server")
TICKS = "TICKS_FILE"
WAKE_S = 0.001
_FORMAT = "ddddd"


class Ticks:
    """Numbers that two processes share.

    Whether to measure; the longest turn and hold so far, in seconds; and how many turns and holds were measured.
    """

    ON, TURN, HOLD, TURNS, HOLDS = 0, 8, 16, 24, 32

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(bytes(struct.calcsize(_FORMAT)))
        with file.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), struct.calcsize(_FORMAT))

    def get(self, place: int) -> float:
        value: float = struct.unpack_from("d", self._shared, place)[0]
        return value

    def put(self, place: int, value: float) -> None:
        struct.pack_into("d", self._shared, place, value)

    def measured(self, place: int, value: float) -> None:
        """Count a turn or a hold, and keep it if it is the longest."""
        if value > self.get(place):
            self.put(place, value)
        count = place + Ticks.TURNS - Ticks.TURN
        self.put(count, self.get(count) + 1)


@dataclass
class Longest:
    """In seconds of CPU time."""

    turn_s: float = 0.0
    """Of the event loop's thread, in one turn of the loop."""
    hold_s: float = 0.0
    """Of the process, while a thread that wakes up every millisecond waited for the interpreter lock."""


class TickingServer:
    """A running server, and what it measures."""

    def __init__(self, served: ServedProcess, ticks: Ticks) -> None:
        self.served, self._ticks = served, ticks

    @contextlib.contextmanager
    def measuring(self) -> Iterator[Longest]:
        """Measure while the block runs; the result is complete after it."""
        longest = Longest()
        self._ticks.put(Ticks.ON, 1.0)
        self._wait()  # the turn of the last request may not be over
        for place in (Ticks.TURN, Ticks.HOLD):
            self._ticks.put(place, 0.0)
        try:
            yield longest
        finally:
            if self.served.process.poll() is None:
                self._wait()
            self._ticks.put(Ticks.ON, 0.0)
            longest.turn_s, longest.hold_s = self._ticks.get(Ticks.TURN), self._ticks.get(Ticks.HOLD)

    def _wait(self) -> None:
        """Wait for what runs now to be measured."""
        for place in (Ticks.TURNS, Ticks.HOLDS):
            count = self._ticks.get(place) + 2
            wait_until(lambda: self._ticks.get(place) >= count)  # noqa: B023 - called at once


@contextlib.contextmanager
def ticking(artifact: Path, log: Path, **settings: Any) -> Iterator[TickingServer]:
    """Serve on one CPU, with the chart's settings, until the block ends."""
    file = log.with_suffix(".ticks")
    ticks = Ticks(file)
    environment: dict[str, Any] = {**chart_settings(), **settings, TICKS: str(file)}
    with serving(artifact, log, program=(*on_one_cpu(), *PROGRAM), **environment) as served:
        yield TickingServer(served, ticks)


class Meter:
    """Measures a loop and its process from within."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ticks: Ticks) -> None:
        self._loop, self._ticks = loop, ticks
        self._ticking = False
        threading.Thread(target=self._watch, daemon=True).start()

    def _tick(self, before: float) -> None:
        """Called once in each turn of the loop while it is measured."""
        self._ticks.measured(Ticks.TURN, time.thread_time() - before)
        if self._ticks.get(Ticks.ON):
            self._loop.call_soon(self._tick, time.thread_time())
        else:
            self._ticking = False

    def _watch(self) -> None:
        while True:
            before = time.process_time()
            time.sleep(WAKE_S)  # gives up the interpreter lock, and needs it again to return
            self._ticks.measured(Ticks.HOLD, time.process_time() - before)
            if not self._ticking and self._ticks.get(Ticks.ON):
                self._ticking = True
                self._loop.call_soon_threadsafe(self._tick, math.inf)


def _main() -> None:
    from lading.cli import main

    made, ticks = uvloop.new_event_loop, Ticks(Path(os.environ[TICKS]))

    def with_meter() -> asyncio.AbstractEventLoop:
        loop = made()
        Meter(loop, ticks)
        return loop

    uvloop.new_event_loop = with_meter  # type: ignore[assignment]
    sys.argv[0] = "lading"
    main()


if __name__ == "__main__":
    _main()
