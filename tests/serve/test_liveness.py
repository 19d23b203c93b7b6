"""A lane that hangs is replaced. Liveness fails when that is not possible any more, and for nothing else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest

from lading.artifact import Artifact
from lading.errors import ExpiredError, NotReadyError, OverloadedError
from lading.serve.engine.lanes import LOST
from lading.spec import Array
from tests.given.changed_artifacts import with_costs
from tests.given.engine import app_of, held, in_lane, infer, read, started, value
from tests.given.live_server import wait_until
from tests.given.served_process import serving
from tests.given.small_artifacts import looping_artifact

HANGS = {"lanes": 1, "wedged_s": 0.05}
"""A lane hangs after 0.05 s, not after seconds."""


def soon() -> float:
    """A deadline."""
    return time.perf_counter() + 0.01


def lane_threads() -> int:
    """Threads of first lanes, those of other servers in this process too."""
    return sum(thread.name == "lane-0" for thread in threading.enumerate())


async def until(condition: object) -> None:
    assert callable(condition)
    end = time.perf_counter() + 20
    while not condition():
        assert time.perf_counter() < end
        await asyncio.sleep(0.005)


def test_a_lane_that_hangs_is_replaced_and_the_queue_continues(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        async with started(small["table"], **HANGS) as (app, model):
            gate, threads = threading.Event(), lane_threads()
            hanging = await in_lane(app, model, gate, deadline=soon())
            waiting = asyncio.create_task(infer(app, model, read))
            with pytest.raises(ExpiredError, match="was given up"):
                await hanging
            assert (await waiting)["total"].shape == (2, 1)
            assert app.health.alive
            assert value(app, "lading_lanes_replaced_total") == 1
            gate.set()  # what the thread returns now is ignored, and it ends
            await until(lambda: lane_threads() == threads)
            assert (await infer(app, model, read))["total"].shape == (2, 1)
            assert (app.engine._pending, app.engine._bytes, model.pending) == (0, 0, 0)

    asyncio.run(scenario())


def test_liveness_fails_when_too_many_threads_hang_and_recovers_with_them(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        async with started(small["table"], **HANGS) as (app, model):
            gate = threading.Event()
            for number in range(LOST):
                with pytest.raises(ExpiredError):
                    await (await in_lane(app, model, gate, deadline=soon()))
                assert app.health.alive, number
            last = await in_lane(app, model, gate, deadline=soon())
            waiting = asyncio.create_task(infer(app, model, read, deadline=time.perf_counter() + 1.0))
            for task in (last, waiting):
                with pytest.raises(ExpiredError):
                    await task
            assert not app.health.alive
            assert value(app, "lading_lanes_replaced_total") == LOST
            gate.set()
            await until(lambda: app.health.alive)
            assert (await infer(app, model, read))["total"].shape == (2, 1)

    asyncio.run(scenario())


def test_a_run_that_takes_too_long_is_stopped_and_its_lane_stays(tmp_path: Path) -> None:
    artifact = looping_artifact(tmp_path / "loop")

    async def scenario() -> None:
        async with started(artifact, **HANGS) as (app, model):
            endless = asyncio.create_task(infer(app, model, lambda: turns(2**50), deadline=soon()))
            with pytest.raises(ExpiredError, match="was given up"):
                await endless
            assert (await infer(app, model, lambda: turns(5)))["taken"].tolist() == [[5]]
            assert value(app, "lading_lanes_replaced_total") == 0
            assert app.health.alive

    asyncio.run(scenario())


def turns(count: int) -> Mapping[str, Array]:
    """Inputs of a looping model."""
    return {"turns": np.array([[count]])}


@pytest.mark.parametrize("costs", [{1: 0.01}, {1: 0.01, 8: 0.02}], ids=["one by one", "in batches"])
def test_an_endless_run_on_the_event_loop_goes_to_a_lane_and_its_neighbours_are_answered(
    costs: dict[int, float], tmp_path: Path
) -> None:
    artifact = with_costs(looping_artifact(tmp_path / "loop"), tmp_path / "brief", costs)

    async def scenario() -> None:
        async with started(artifact, lanes=1, wedged_s=0.05) as (app, model):
            assert app.engine.brief(model)
            deadline = time.perf_counter() + 3
            many = [2**50, 1, 2, 2**50, 3]  # all of them come in the same turn of the loop
            asked = [
                asyncio.create_task(infer(app, model, partial(turns, count), brief=True, deadline=deadline))
                for count in many
            ]
            for task, count in zip(asked, many, strict=True):
                if count < 2**50:
                    assert (await task)["taken"].tolist() == [[count]]
            endless = [task for task, count in zip(asked, many, strict=True) if count == 2**50]
            assert not any(task.done() for task in endless)
            assert (await infer(app, model, lambda: turns(4), brief=True))["taken"].tolist() == [[4]]  # by the loop
            for task in endless:
                with pytest.raises(ExpiredError):
                    await task
            assert (await infer(app, model, lambda: turns(5)))["taken"].tolist() == [[5]]  # by the lane
            assert app.health.alive
            assert (app.engine._pending, app.engine._bytes, model.pending) == (0, 0, 0)

    asyncio.run(scenario())


def test_an_endless_run_on_the_event_loop_delays_neither_probes_nor_a_stop(tmp_path: Path) -> None:
    artifact = with_costs(looping_artifact(tmp_path / "loop"), tmp_path / "brief", {1: 0.01})
    with (
        serving(artifact.path, tmp_path / "log", LADING_LANES="1", LADING_DRAIN_S="1") as served,
        httpx.Client(base_url=served.url, timeout=20) as client,
        ThreadPoolExecutor(1) as other,
    ):
        headers = {"x-request-timeout-ms": "20000"}
        endless = other.submit(
            httpx.post, f"{served.url}/predict", json={"turns": [[2**50]]}, headers=headers, timeout=60
        )
        wait_until(lambda: "too long for the event loop" in served.log.read_text())
        assert client.get("/livez").status_code == 200
        assert client.post("/predict", json={"turns": [[3]]}).json()["outputs"] == {"taken": [[3]]}
        assert not endless.done()
        served.process.terminate()
        assert endless.result().status_code == 503
        assert served.process.wait(20) == 1
        assert "stopped without waiting for what still runs" in served.log.read_text()


def test_those_that_share_a_batch_with_one_that_hangs_go_to_another_lane(
    small: dict[str, Artifact], tmp_path: Path
) -> None:
    artifact = with_costs(small["table"], tmp_path / "cheap", {1: 1.0, 8: 1.2})

    async def scenario() -> None:
        async with started(artifact, **HANGS) as (app, model):
            first, gate = threading.Event(), threading.Event()
            before = await in_lane(app, model, first)
            model.service_seconds = 0.0  # so that a short deadline is accepted
            decoded, begun = threading.Event(), threading.Event()
            due = time.perf_counter() + 0.5

            def note() -> Mapping[str, Array]:
                decoded.set()
                return read()

            tasks = [
                asyncio.create_task(infer(app, model, note)),
                asyncio.create_task(infer(app, model, held(gate, begun), deadline=due)),
                asyncio.create_task(infer(app, model, read)),
                asyncio.create_task(infer(app, model, read, deadline=due)),
            ]
            await asyncio.sleep(0)
            first.set()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(one) for one in results] == [dict, ExpiredError, dict, ExpiredError]
            await before
            assert decoded.is_set()
            gate.set()

    asyncio.run(scenario())


def test_a_lane_is_not_replaced_before_the_deadline_however_long_it_takes(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        async with started(small["table"], **HANGS) as (app, model):
            gate = threading.Event()
            task = await in_lane(app, model, gate, deadline=time.perf_counter() + 60)
            end = time.perf_counter() + 0.3
            while time.perf_counter() < end:
                await asyncio.sleep(0.01)
            assert value(app, "lading_lanes_replaced_total") == 0
            gate.set()
            await task

    asyncio.run(scenario())


def test_a_process_that_was_paused_replaces_nothing(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        async with started(small["table"], lanes=1, wedged_s=4.0) as (app, model):
            gate = threading.Event()
            due = soon()
            task = await in_lane(app, model, gate, deadline=due)
            threads = app.engine._threads
            assert threads is not None
            await until(lambda: time.perf_counter() > due)
            threads.replace_hanging()
            threads._looked -= 3600  # as after SIGSTOP for an hour
            assert threads.replace_hanging() == (0, [])
            gate.set()
            await task

    asyncio.run(scenario())


def test_a_stop_does_not_wait_for_a_lane_that_hangs(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        app = app_of(small["table"], lanes=1)
        await app.start()
        model, gate = app.repository.find(), threading.Event()
        hanging = await in_lane(app, model, gate)
        waiting = asyncio.create_task(infer(app, model, read))
        await asyncio.sleep(0)
        assert await app.stop(0.01) == ["lane 0"]
        for task in (hanging, waiting):
            with pytest.raises(NotReadyError, match="the server stopped before"):
                await task
        gate.set()

    asyncio.run(scenario())


def test_waiting_requests_that_are_too_late_give_way_to_new_ones(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        async with started(small["table"], lanes=1, max_queue=2) as (app, model):
            model.service_seconds = 0.0
            gate = threading.Event()
            first = await in_lane(app, model, gate)
            due = time.perf_counter() + 0.3
            late = [asyncio.create_task(infer(app, model, read, deadline=due)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError):
                await infer(app, model, read)  # nothing is late yet
            await until(lambda: time.perf_counter() > due)
            new = asyncio.create_task(infer(app, model, read))
            for task in late:
                with pytest.raises(ExpiredError, match="while the request was waiting"):
                    await task
            gate.set()
            await asyncio.gather(first, new)
            assert value(app, "lading_shed_total", reason="expired") == 2

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
