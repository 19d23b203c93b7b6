"""The event loop's thread lets lanes finish while requests are refused, and is as prompt as ever when none is."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from lading.artifact import Artifact
from lading.errors import OverloadedError
from lading.serve.http.app import App
from lading.settings import Settings
from lading.spec import Array
from tests.given.engine import infer

ONES = np.ones((2, 4), dtype=np.float32)


@pytest.fixture(autouse=True)
def usual_scheduling() -> Iterator[None]:
    found = os.sched_getscheduler(0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    yield
    os.sched_setscheduler(0, found, os.sched_param(0))


def policy() -> int:
    """Of the calling thread."""
    return os.sched_getscheduler(0)


async def policies_of_new_threads() -> set[int]:
    """Keep several threads of the loop's executor busy at once, more than it has: some are begun for it."""
    together = threading.Barrier(3)

    def meet() -> int:
        together.wait(20)
        return policy()

    return set(await asyncio.gather(*(asyncio.to_thread(meet) for _ in range(3))))


async def refuse_one(app: App) -> tuple[int, set[int], int]:
    """Fill one lane and its queue of none; the loop's policy, new threads' and a lane's once a request is refused."""
    gate, model, lane = threading.Event(), app.repository.find(), list[int]()

    def wait() -> Mapping[str, Array]:
        assert gate.wait(20)
        lane.append(policy())
        return {"features": ONES}

    first = asyncio.create_task(infer(app, model, wait))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await infer(app, model, wait)
    loop, threads = policy(), await policies_of_new_threads()
    gate.set()
    await first
    return loop, threads, lane[0]


def test_while_requests_are_refused_the_loop_interrupts_no_lane(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        app = App(Settings(lanes=1, max_queue=0), artifacts=[small["table"]])
        await app.start()
        loop, threads, lane = await refuse_one(app)
        assert (loop, threads, lane) == (os.SCHED_BATCH, {os.SCHED_OTHER}, os.SCHED_OTHER)
        assert policy() == os.SCHED_OTHER, "nothing waits any more"
        await app.stop()

    asyncio.run(scenario())


def test_what_somebody_else_has_chosen_is_left_alone(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        app = App(Settings(lanes=1, max_queue=0), artifacts=[small["table"]])
        await app.start()
        loop, threads, _ = await refuse_one(app)
        assert (loop, threads) == (os.SCHED_BATCH, {os.SCHED_BATCH})
        await app.stop()

    asyncio.run(scenario())
