"""Short runs on the event loop: which requests they are, and that everything an engine promises holds for them too."""

from __future__ import annotations

import asyncio
import gzip
import io
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from PIL import Image

from lading.artifact import Artifact
from lading.errors import ExpiredError, RequestError
from lading.serve.turns import LARGEST, PIXELS, TURN_JOBS
from lading.spec import Array
from tests.serve.live_server import live_server
from tests.serve.small_artifacts import with_costs
from tests.serve.test_engine import read, started, value

ON_LOOP: dict[str, Any] = {"lanes": 1, "on_loop_ms": 5.0}
Read = Callable[[], Mapping[str, Array]]


@pytest.fixture
def quick(small: dict[str, Artifact], tmp_path: Path) -> Artifact:
    """A table model whose runs were measured: 0.1 ms, and batches gain nothing."""
    return with_costs(small["table"], tmp_path / "quick", {1: 0.1, 8: 0.8})


class Unforeseen(BaseException):
    """What no handler of errors expects."""


def noting(threads: list[str], rows: int = 2) -> Read:
    """A request that notes where it is read."""

    def note() -> Mapping[str, Array]:
        threads.append(threading.current_thread().name)
        return {"features": np.ones((rows, 4), np.float32)}

    return note


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        (ON_LOOP, "loop"),
        ({"lanes": 2, "on_loop_ms": 5.0}, "lane"),
        ({"lanes": 1, "on_loop_ms": 0}, "lane"),
        ({"lanes": 1, "on_loop_ms": 0.05}, "lane"),
    ],
    ids=["one lane", "two lanes", "turned off", "the model takes longer"],
)
def test_a_short_request_to_a_server_with_one_lane_runs_on_the_event_loop(
    quick: Artifact, settings: dict[str, float], place: str
) -> None:
    async def scenario() -> None:
        threads: list[str] = []
        async with started(quick, **settings) as (app, model):
            await app.engine.infer(model, noting(threads))
        here = threading.current_thread().name
        assert [thread == here for thread in threads] == [place == "loop"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "how",
    [{"size": LARGEST + 1}, {"short": False}],
    ids=["a large body", "a body that must be inflated"],
)
def test_what_takes_long_to_read_goes_to_the_lane(quick: Artifact, how: dict[str, int]) -> None:
    async def scenario() -> None:
        threads: list[str] = []
        async with started(quick, **ON_LOOP) as (app, model):
            await app.engine.infer(model, noting(threads), **how)  # type: ignore[arg-type]
        assert threads == ["lane-0"]

    asyncio.run(scenario())


def test_a_request_of_many_examples_is_read_here_and_runs_in_the_lane(quick: Artifact) -> None:
    async def scenario() -> None:
        threads: list[str] = []
        async with started(quick, **ON_LOOP) as (app, model):
            answer = await app.engine.infer(model, noting(threads, rows=100))
            assert answer["total"].shape == (100, 1)
        assert threads == [threading.current_thread().name, "lane-0"]

    asyncio.run(scenario())


def test_a_small_file_of_many_pixels_is_decoded_in_the_lane(small: dict[str, Artifact], tmp_path: Path) -> None:
    side = int(PIXELS**0.5) + 1
    stream = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(stream, "PNG")
    assert len(stream.getvalue()) < LARGEST
    artifact = with_costs(small["colour"], tmp_path / "quick", {1: 0.1})
    with live_server(artifact, **ON_LOOP) as live:
        for data in (stream.getvalue(), gzip.compress(stream.getvalue())):
            encoding = {"content-encoding": "gzip"} if data[:2] == b"\x1f\x8b" else {}
            answer = live.client.post("/classify", content=data, headers=encoding)
            assert answer.status_code == 200, answer.text
        assert value(live.app, "lading_queue_duration_seconds_count") == 3  # the plain one waited twice


def test_models_take_turns_and_the_sockets_are_looked_at_between(quick: Artifact, small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        from lading.serve.app import App
        from lading.settings import Settings

        app = App(Settings(**ON_LOOP), artifacts=[quick, small["types"]])
        await app.start()
        busy, other = app.repository.find(), app.repository.find(small["types"].manifest.name)
        other.service_seconds = 0.0001
        order: list[str] = []

        async def ask(name: str) -> None:
            model = busy if name == "busy" else other
            await app.engine.infer(model, read if name == "busy" else small["types"].golden_inputs)
            order.append(name)

        asked = [asyncio.ensure_future(ask("busy")) for _ in range(3 * TURN_JOBS)]
        asked.append(asyncio.ensure_future(ask("other")))
        await asyncio.sleep(0)
        passes = 0
        while not all(task.done() for task in asked):
            await asyncio.sleep(0)
            passes += 1
        assert order.index("other") == TURN_JOBS
        assert passes >= 4
        await app.stop()

    asyncio.run(scenario())


def test_requests_that_gather_share_runs_of_the_best_batch_and_no_more(
    small: dict[str, Artifact], tmp_path: Path
) -> None:
    artifact = with_costs(small["table"], tmp_path / "cheap", {1: 0.1, 4: 0.11, 8: 0.12, 16: 0.24})

    async def scenario() -> None:
        async with started(artifact, **ON_LOOP) as (app, model):
            assert model.batch == 8
            rows = [np.full((1, 4), number / 4, np.float32) for number in range(20)]
            asked = [app.engine.infer(model, lambda x=x: {"features": x}) for x in rows]  # type: ignore[misc]
            totals = [float(answer["total"][0, 0]) for answer in await asyncio.gather(*asked)]
            assert totals == [float(number) for number in range(20)]
            assert value(app, "lading_batch_size_count", model="small-table") == 3
            assert value(app, "lading_batch_size_sum", model="small-table") == 20

    asyncio.run(scenario())


def test_what_has_expired_or_was_given_up_is_never_read(quick: Artifact) -> None:
    async def scenario() -> None:
        threads: list[str] = []
        async with started(quick, **ON_LOOP) as (app, model):
            model.service_seconds = 0.0  # so that it is accepted
            due = time.perf_counter() + 0.01
            late = asyncio.ensure_future(app.engine.infer(model, noting(threads), deadline=due))
            given_up = asyncio.ensure_future(app.engine.infer(model, noting(threads)))
            asyncio.get_running_loop().call_soon(given_up.cancel)
            asyncio.get_running_loop().call_soon(time.sleep, 0.02)
            with pytest.raises(ExpiredError, match="while the request was waiting"):
                await late
            with pytest.raises(asyncio.CancelledError):
                await given_up
            assert threads == []
            assert value(app, "lading_shed_total", reason="expired") == 1

    asyncio.run(scenario())


def test_a_request_that_fails_in_any_way_stops_neither_its_turn_nor_the_next(quick: Artifact) -> None:
    def refuse() -> Mapping[str, Array]:
        raise RequestError("no")

    def fail() -> Mapping[str, Array]:
        raise Unforeseen

    async def scenario() -> None:
        async with started(quick, **ON_LOOP) as (app, model):
            found = await asyncio.gather(
                *(app.engine.infer(model, one) for one in (read, refuse, read)), return_exceptions=True
            )
            assert [type(one).__name__ for one in found] == ["dict", "RequestError", "dict"]
            broken = asyncio.ensure_future(app.engine.infer(model, fail))
            with pytest.raises(Unforeseen):
                await broken
            assert (await app.engine.infer(model, read))["total"].shape == (2, 1)

    asyncio.run(scenario())


def test_stopping_answers_what_waits_for_its_turn(quick: Artifact) -> None:
    async def scenario() -> None:
        async with started(quick, **ON_LOOP) as (app, model):
            accepted = [asyncio.ensure_future(app.engine.infer(model, read)) for _ in range(100)]
            await asyncio.sleep(0)
        assert all(task.done() and task.result() for task in accepted)

    asyncio.run(scenario())


def test_many_clients_get_their_own_answers(quick: Artifact) -> None:
    async def ask(client: httpx.AsyncClient, number: int) -> float:
        answer = await client.post("/predict", content=orjson.dumps({"features": [[number, 0, 0, 0]]}))
        return float(answer.json()["outputs"]["total"][0][0])

    async def all_of(url: str) -> list[float]:
        async with httpx.AsyncClient(base_url=url) as client:
            return await asyncio.gather(*(ask(client, number % 10) for number in range(100)))

    with live_server(quick, **ON_LOOP) as live:
        assert asyncio.run(all_of(live.url)) == [float(number % 10) for number in range(100)]
        assert live.client.get("/livez").status_code == 200
