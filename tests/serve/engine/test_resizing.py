"""A running server is given more or fewer CPUs: lanes and admission follow, and no request is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from lading.artifact import Artifact
from lading.errors import OverloadedError
from lading.machine import usable_cpus
from lading.serve.engine.engine import Engine, lane_count
from lading.serve.telemetry.metrics import Metrics
from lading.settings import Settings
from tests.given.engine import app_of, held, in_lane, infer, read, started, value
from tests.given.live_server import live_server, wait_until

QUOTAS = [1.0, 2.0, 0.3, 4.0, 1.0, 7.5, 0.1, 2.0]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_engine_has_the_lanes_that_one_started_with_these_cpus_has(
    small: dict[str, Artifact], workers: int, threads: int
) -> None:
    app = app_of(small["table"], workers=workers, threads=threads)
    for cpus in QUOTAS:
        app.engine.cpus = lambda cpus=cpus: cpus  # type: ignore[misc]
        app.engine.follow_cpus()
        new = Engine(app.settings, Metrics(), lambda cpus=cpus: cpus)  # type: ignore[misc]
        assert app.engine.lanes == new.lanes == lane_count(app.settings, cpus)
        assert app.engine._limit == new._limit
        assert app.engine._brief_s == new._brief_s
        assert value(app, "lading_usable_cpus") == cpus
        assert value(app, "lading_lanes") == new.lanes


def test_lanes_that_the_settings_fix_stay(small: dict[str, Artifact]) -> None:
    app = app_of(small["table"], lanes=3)
    app.engine.cpus = lambda: 0.5
    app.engine.follow_cpus()
    assert app.engine.lanes == 3
    assert value(app, "lading_usable_cpus") == 0.5


def test_a_changed_quota_is_seen_while_the_server_runs(small: dict[str, Artifact], tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/\n")
    with live_server(small["table"], lanes=0) as server:
        engine = server.app.engine
        engine.cpus = partial(usable_cpus, tmp_path, own)
        for quota, lanes in (("100000", 1), ("30000", 1)):
            (tmp_path / "cpu.max").write_text(f"{quota} 100000\n")
            wait_until(lambda quota=quota: engine._usable == int(quota) / 100_000)
            assert engine.lanes == lanes
            assert server.client.get("/v2/models/small-table").json()["parameters"]["lanes"] == lanes
            assert server.client.post("/predict", json={"features": [[1.0, 2.0, 3.0, 4.0]]}).status_code == 200


def test_more_cpus_run_requests_that_wait(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        app = app_of(small["table"])
        app.engine.cpus = lambda: 1.0
        app.engine.follow_cpus()
        await app.start()
        model = app.repository.find()
        gate = threading.Event()
        first = await in_lane(app, model, gate)
        second = asyncio.create_task(infer(app, model, read))
        await asyncio.sleep(0)
        app.engine.cpus = lambda: 2.0
        app.engine.follow_cpus()
        await asyncio.wait_for(second, 20)
        assert not first.done()
        gate.set()
        await first
        await app.stop()

    asyncio.run(scenario())


def test_fewer_cpus_lose_nothing_that_runs_or_waits_and_then_one_lane_works(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        app = app_of(small["table"])
        app.engine.cpus = lambda: 4.0
        app.engine.follow_cpus()
        await app.start()
        model = app.repository.find()
        gate = threading.Event()
        busy = [await in_lane(app, model, gate) for _ in range(4)]
        waiting = [asyncio.create_task(infer(app, model, read)) for _ in range(20)]
        await asyncio.sleep(0)
        app.engine.cpus = lambda: 1.0
        app.engine.follow_cpus()
        gate.set()
        assert len(await asyncio.wait_for(asyncio.gather(*busy, *waiting), 20)) == 24
        for _ in range(8):  # each lane that is not needed ends at its next ticket
            await infer(app, model, read)
        lanes = app.engine._threads
        assert lanes is not None
        while len(lanes._lanes) > 1:
            await infer(app, model, read)
            lanes.replace_hanging()
        assert [lane.replaced for lane in lanes._lanes] == [False]
        await app.stop()

    asyncio.run(scenario())


def test_any_order_of_quotas_under_load_loses_nothing(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        async with started(small["table"]) as (app, model):
            for number in range(10):
                for cpus in QUOTAS:
                    app.engine.cpus = lambda cpus=cpus: cpus  # type: ignore[misc]
                    requests = [asyncio.create_task(infer(app, model, read)) for _ in range(number + 1)]
                    await asyncio.sleep(0)
                    app.engine.follow_cpus()
                    await asyncio.wait_for(asyncio.gather(*requests), 20)

    asyncio.run(scenario())


def test_a_lane_that_is_not_needed_and_hangs_is_given_up_and_not_replaced(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        app = app_of(small["table"], wedged_s=0.05)
        app.engine.cpus = lambda: 2.0
        app.engine.follow_cpus()
        await app.start()
        model = app.repository.find()
        gate, begun = threading.Event(), threading.Event()
        free = threading.Event()
        one = await in_lane(app, model, free)
        hanging = asyncio.create_task(infer(app, model, held(gate, begun), deadline=time.perf_counter() + 0.2))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        app.engine.cpus = lambda: 1.0
        app.engine.follow_cpus()
        free.set()
        await one
        with pytest.raises(Exception, match="given up"):
            await asyncio.wait_for(hanging, 20)
        await infer(app, model, read)
        assert app.engine.alive
        gate.set()
        await app.stop()

    asyncio.run(scenario())


def test_admission_counts_with_the_cpus_that_are_left(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        async with started(small["table"], deadline_ms=60_000) as (app, model):
            app.engine.cpus = lambda: 1.0
            app.engine.follow_cpus()
            model.service_seconds = 0.1
            gate = threading.Event()
            task = await in_lane(app, model, gate)
            deadline = time.perf_counter() + 0.5
            app.engine.admit(model, deadline)
            app.engine.cpus = lambda: 0.2
            app.engine.follow_cpus()
            assert model.service_seconds == pytest.approx(0.5)
            with pytest.raises(OverloadedError, match="the deadline is sooner"):
                app.engine.admit(model, deadline)
            app.engine.cpus = lambda: 1.0
            app.engine.follow_cpus()
            assert model.service_seconds == pytest.approx(0.1)
            gate.set()
            await task

    asyncio.run(scenario())


def test_workers_divide_the_cpus(small: dict[str, Artifact]) -> None:
    assert lane_count(Settings(workers=2), 5.0) == 3
    assert lane_count(Settings(workers=2), 0.5) == 1
    assert lane_count(Settings(workers=2, lanes=3), 5.0) == 3, "a worker's own part was set before"
