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
from lading.serve.app import App
from lading.settings import Settings
from lading.spec import Array

ONES = np.ones((2, 4), dtype=np.float32)


@pytest.fixture(autouse=True)
def usual_scheduling() -> Iterator[None]:
    found = os.sched_getscheduler(0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    yield
    os.sched_setscheduler(0, found, os.sched_param(0))


def policy() -> int:
    """Of the calling thread."""
    return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK


async def refuse_one(app: App) -> list[int]:
    """Fill one lane and its queue of none; the loop's policy, a lane's and a new thread's once a request is refused."""
    gate, model, policies = threading.Event(), app.repository.find(), []

    def wait() -> Mapping[str, Array]:
        assert gate.wait(20)
        policies.append(policy())
        return {"features": ONES}

    first = asyncio.create_task(app.engine.infer(model, wait))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await app.engine.infer(model, wait)
    policies.append(policy())
    policies.append(await asyncio.to_thread(policy))
    gate.set()
    await first
    return policies


def test_while_requests_are_refused_the_loop_interrupts_no_lane(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        app = App(Settings(lanes=1, max_queue=0), artifacts=[small["table"]])
        await app.start()
        loop, thread, lane = await refuse_one(app)
        assert (loop, thread, lane) == (os.SCHED_BATCH, os.SCHED_OTHER, os.SCHED_OTHER)
        assert policy() == os.SCHED_OTHER, "nothing waits any more"
        await app.stop()

    asyncio.run(scenario())


def test_what_somebody_else_has_chosen_is_left_alone(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        app = App(Settings(lanes=1, max_queue=0), artifacts=[small["table"]])
        await app.start()
        await refuse_one(app)
        assert policy() == os.SCHED_BATCH
        await app.stop()

    asyncio.run(scenario())
