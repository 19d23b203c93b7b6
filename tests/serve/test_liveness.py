"""A lane that hangs fails liveness, and nothing else does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping

import pytest

from lading.artifact import Artifact
from lading.errors import OverloadedError
from lading.spec import Array
from tests.given.engine import in_lane, infer, read, started


def test_a_lane_that_hangs_fails_liveness_and_only_that_does(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        async with started(small["table"], lanes=1, wedged_s=0.01) as (app, model):
            assert app.engine.alive
            gate = threading.Event()
            task = await in_lane(app, model, gate)
            begun = time.perf_counter()
            while time.perf_counter() < begun + 0.02:
                await asyncio.sleep(0.001)
            assert not app.engine.alive
            gate.set()
            await task
            assert app.engine.alive

    asyncio.run(scenario())


def test_neither_a_full_queue_nor_a_failing_model_fails_liveness(small: dict[str, Artifact]) -> None:
    def fail() -> Mapping[str, Array]:
        raise MemoryError

    async def scenario() -> None:
        async with started(small["table"], lanes=1, max_queue=1) as (app, model):
            with pytest.raises(MemoryError):
                await infer(app, model, fail)
            assert app.health.alive
            gate = threading.Event()
            first = await in_lane(app, model, gate)
            second = asyncio.create_task(infer(app, model, read))
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError):
                await infer(app, model, read)
            assert app.health.alive
            gate.set()
            await asyncio.gather(first, second)
            model.close("it was unloaded")
            assert app.health.alive

    asyncio.run(scenario())
