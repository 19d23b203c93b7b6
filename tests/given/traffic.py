"""Real servers, a real Prometheus and Alertmanager, hours shortened to minutes: the right alert arrives, and no other.

Each fault has a namespace of its own, and all happen at once beside a server that is well. Windows and waiting times
are divided by 30. Of the burn-rate alerts the pair of 1 h and 5 m is kept: the longer ones would take an hour even so,
and promtool tests them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import httpx

from lading.errors import LadingError
from lading.spec import Array
from tests.given.engine import infer
from tests.given.live_server import LiveServer

PATIENCE_S = 150.0


@contextlib.contextmanager
def asking(act: Callable[[], object], every: float) -> Iterator[None]:
    """Do something again and again in a thread until the block ends."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(every):
            with contextlib.suppress(httpx.HTTPError):
                act()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def post(live: LiveServer, body: object) -> Callable[[], httpx.Response]:
    return lambda: live.client.post("/predict", json=body)


def hold_a_lane(live: LiveServer) -> None:
    """Keep one lane busy for a second, as a slow run does; where the queue is full this is refused too."""

    def read() -> dict[str, Array]:
        time.sleep(1.0)
        return live.artifact.golden_inputs()

    asked = asyncio.run_coroutine_threadsafe(infer(live.app, live.app.repository.find(), read), live.loop)
    with contextlib.suppress(LadingError):
        asked.result(PATIENCE_S)
