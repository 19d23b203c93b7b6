"""The engine by itself: lanes, batches, admission by deadline, readiness, draining."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from lading.artifact import Artifact
from lading.errors import ExpiredError, NotReadyError, OverloadedError, RequestError
from lading.machine import usable_cpus
from lading.spec import Array
from tests.given.changed_artifacts import with_costs, with_golden_outputs, with_renamed_golden_outputs
from tests.given.engine import app_of, held, in_lane, infer, read, started, value


def test_an_engine_answers_once_started(small: dict[str, Artifact]) -> None:
    async def scenario() -> dict[str, Array]:
        app = app_of(small["table"], lanes=1)
        with pytest.raises(NotReadyError, match="the model is being loaded"):
            await infer(app, app.repository.find(), read)
        await app.start()
        answer = await infer(app, app.repository.find(), read)
        await app.stop()
        return answer

    assert asyncio.run(scenario())["total"].tolist() == [[4.0], [4.0]]


def test_there_are_as_many_lanes_as_usable_cpus_unless_set(small: dict[str, Artifact]) -> None:
    assert app_of(small["table"]).engine.lanes == max(1, int(usable_cpus()))
    assert app_of(small["table"], threads=200).engine.lanes == 1
    assert app_of(small["table"], lanes=3).engine.lanes == 3


def test_lanes_run_at_the_same_time(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        both = threading.Barrier(2, timeout=20)  # passed only when two requests are in their lanes together

        def meet() -> Mapping[str, Array]:
            both.wait()
            return read()

        async with started(small["table"], lanes=2) as (app, model):
            await asyncio.gather(infer(app, model, meet), infer(app, model, meet))

    asyncio.run(scenario())


def test_requests_that_gather_while_a_lane_is_busy_share_a_run_when_that_is_cheaper(
    small: dict[str, Artifact], tmp_path: Path
) -> None:
    artifact = with_costs(small["table"], tmp_path / "cheap", {1: 1.0, 4: 1.1, 8: 1.2, 16: 2.7})

    async def scenario() -> None:
        async with started(artifact, lanes=1) as (app, model):
            assert model.batch == 8
            gate = threading.Event()
            first = await in_lane(app, model, gate)
            rows = [np.full((1, 4), number, np.float32) for number in range(11)]
            waiting = [asyncio.create_task(infer(app, model, lambda x=x: {"features": x})) for x in rows]  # type: ignore[misc]
            await asyncio.sleep(0)
            gate.set()
            await first
            totals = [float(answer["total"][0, 0]) for answer in await asyncio.gather(*waiting)]
            assert totals == [4.0 * number for number in range(11)]
            # One run of the first, one of eight, one of three.
            assert value(app, "lading_batch_size_count", model="small-table") == 3
            assert value(app, "lading_batch_size_sum", model="small-table") == 2 + 11

    asyncio.run(scenario())


def test_one_bad_request_does_not_fail_those_it_shares_a_run_with(small: dict[str, Artifact], tmp_path: Path) -> None:
    artifact = with_costs(small["table"], tmp_path / "cheap", {1: 1.0, 8: 1.2})

    def refuse() -> Mapping[str, Array]:
        raise RequestError("no")

    async def scenario() -> None:
        async with started(artifact, lanes=1) as (app, model):
            gate = threading.Event()
            first = await in_lane(app, model, gate)
            tasks = [asyncio.create_task(infer(app, model, one)) for one in (read, refuse, read)]
            await asyncio.sleep(0)
            gate.set()
            good, bad, other = await asyncio.gather(*tasks, return_exceptions=True)
            await first
            assert isinstance(bad, RequestError)
            assert isinstance(good, dict)
            assert isinstance(other, dict)

    asyncio.run(scenario())


def test_one_request_too_many_is_refused_at_once_and_told_when_to_return(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        async with started(small["table"], lanes=1, max_queue=1) as (app, model):
            gate = threading.Event()
            accepted = [asyncio.ensure_future(infer(app, model, held(gate))) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError, match="2 in progress or waiting") as refused:
                await infer(app, model, read)
            assert refused.value.retry_after_s >= 1
            gate.set()
            assert [answer["total"].shape for answer in await asyncio.gather(*accepted)] == [(2, 1)] * 2
            assert (await infer(app, model, read))["total"].shape == (2, 1)
            assert value(app, "lading_shed_total", reason="queue") == 1

    asyncio.run(scenario())


def test_more_bytes_than_may_wait_are_refused(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        async with started(small["table"], lanes=1, max_queue_mb=0.001) as (app, model):
            gate = threading.Event()
            accepted = asyncio.ensure_future(infer(app, model, held(gate), size=900))
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError, match="hold 900 bytes"):
                app.engine.admit(model, time.perf_counter() + 60, 200)
            gate.set()
            await accepted
            app.engine.admit(model, time.perf_counter() + 60, 200)

    asyncio.run(scenario())


def test_what_cannot_be_done_in_time_is_refused_before_its_body_is_read(
    small: dict[str, Artifact], tmp_path: Path
) -> None:
    slow = with_costs(small["table"], tmp_path / "slow", {1: 100.0})  # T(1) as the table says: 0.1 s

    async def scenario() -> None:
        async with started(slow, lanes=1) as (app, model):
            gate = threading.Event()
            now = time.perf_counter()
            app.engine.admit(model, now + 0.05)  # an idle server takes everything
            accepted = [asyncio.ensure_future(infer(app, model, held(gate))) for _ in range(3)]
            await asyncio.sleep(0)
            app.engine.admit(model, now + 1.0)
            for seconds in (0.3, 0.6):  # the second would do by this clock, and be late by the client's
                with pytest.raises(OverloadedError, match="the deadline is sooner"):
                    app.engine.admit(model, now + seconds)
            with pytest.raises(ExpiredError):
                app.engine.admit(model, now - 1.0)
            gate.set()
            await asyncio.gather(*accepted)

    asyncio.run(scenario())


def test_a_request_whose_deadline_passes_in_the_queue_is_never_run(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        async with started(small["table"], lanes=1) as (app, model):
            gate, ran = threading.Event(), threading.Event()
            model.service_seconds = 0.0  # so that it is accepted
            first = await in_lane(app, model, gate)
            due = time.perf_counter() + 0.01
            late = asyncio.create_task(infer(app, model, held(gate, ran), deadline=due))
            await asyncio.sleep(0)
            while time.perf_counter() < due:
                await asyncio.sleep(0.001)
            gate.set()
            with pytest.raises(ExpiredError, match="while the request was waiting"):
                await late
            await first
            assert not ran.is_set()
            assert value(app, "lading_shed_total", reason="expired") == 1

    asyncio.run(scenario())


def test_stopping_answers_everything_accepted_and_nothing_new(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        app = app_of(small["table"], lanes=2)
        await app.start()
        model, gate = app.repository.find(), threading.Event()
        accepted = [asyncio.ensure_future(infer(app, model, held(gate))) for _ in range(8)]
        await asyncio.sleep(0)
        stopping = asyncio.ensure_future(app.stop())
        await asyncio.sleep(0)
        with pytest.raises(NotReadyError, match="shutting down"):
            await infer(app, model, read)
        assert not stopping.done()
        gate.set()
        assert len(await asyncio.gather(*accepted)) == 8
        await stopping

    asyncio.run(scenario())


def test_a_caller_that_goes_away_leaves_the_queue_and_not_its_lane(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        async with started(small["table"], lanes=1, max_queue=1) as (app, model):
            gate, ran = threading.Event(), threading.Event()
            in_its_lane = await in_lane(app, model, gate)
            waiting = asyncio.create_task(infer(app, model, held(gate, ran)))
            await asyncio.sleep(0)
            for task in (in_its_lane, waiting):
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            with pytest.raises(OverloadedError):
                await infer(app, model, read)
            gate.set()
        assert not ran.is_set()

    asyncio.run(scenario())


def test_a_refused_request_leaves_its_place_free(small: dict[str, Artifact]) -> None:
    def refuse() -> Mapping[str, Array]:
        raise RequestError("no")

    async def scenario() -> None:
        async with started(small["table"], lanes=1, max_queue=0) as (app, model):
            for _ in range(3):
                with pytest.raises(RequestError, match="no"):
                    await infer(app, model, refuse)
            await infer(app, model, read)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda artifact, path: with_golden_outputs(artifact, path, shift=0.5), "does not reproduce its golden output"),
        (with_renamed_golden_outputs, "the model cannot be loaded: KeyError"),
    ],
    ids=["golden outputs of another model", "golden outputs of another name"],
)
def test_a_model_that_is_not_what_it_says_never_becomes_ready(
    small: dict[str, Artifact], tmp_path: Path, change: Callable[[Artifact, Path], Artifact], reason: str
) -> None:
    async def scenario() -> None:
        async with started(change(small["table"], tmp_path / "changed"), lanes=1) as (app, model):
            assert not app.repository.ready
            assert reason in app.repository.not_ready_because
            assert value(app, "lading_ready", model="small-table") == 0
            with pytest.raises(NotReadyError, match=reason):
                await infer(app, model, read)

    asyncio.run(scenario())


def test_bytes_of_bodies_that_arrive_are_reserved_and_given_back(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        async with started(small["table"], max_queue_mb=1.0) as (app, model):
            engine = app.engine
            engine.reserve(5_000_000)  # alone, so it fits
            for size in (16_385, 1_000_000):
                with pytest.raises(OverloadedError, match=f"hold 5000000 bytes, and {size} more do not fit"):
                    engine.reserve(size)
            engine.reserve(16_384)  # small enough
            assert (await infer(app, model, read))["total"].tolist() == [[4.0], [4.0]]
            engine.release(16_384)
            engine.release(5_000_000)
            engine.reserve(400_000)
            engine.reserve(0)
            engine.extend(0, 500_000)
            with pytest.raises(OverloadedError, match="hold 900000 bytes, and 200000 more do not fit"):
                engine.extend(500_000, 700_000)
            engine.release(400_000)
            engine.extend(500_000, 2_000_000)  # alone again
            engine.release(2_000_000)
            assert (engine._uploads, engine._upload_bytes) == (0, 0)
            assert value(app, "lading_shed_total", reason="bytes") == 3

    asyncio.run(scenario())


def test_the_number_of_bodies_that_arrive_is_bounded(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        async with started(small["table"], lanes=1, max_queue=100) as (app, _):
            for _ in range(101):
                app.engine.reserve(10)
            with pytest.raises(OverloadedError, match="101 bodies are arriving"):
                app.engine.reserve(10)
            app.engine.release(10)
            app.engine.reserve(10)

    asyncio.run(scenario())
