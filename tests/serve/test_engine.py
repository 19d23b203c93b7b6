"""The engine by itself: lanes, the bound on waiting, readiness, draining."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from lading.artifact import Artifact
from lading.errors import NotReadyError, OverloadedError, RequestError
from lading.machine import usable_cpus
from lading.metrics import Metrics
from lading.serve.engine import Engine, rows
from lading.settings import Settings
from lading.spec import Array
from tests.serve.small_artifacts import with_golden_outputs, with_renamed_golden_outputs

ONES = np.ones((2, 4), dtype=np.float32)


def engine(artifact: Artifact, **settings: object) -> Engine:
    return Engine(artifact, Settings(**settings), Metrics(artifact))  # type: ignore[arg-type]


def read() -> Mapping[str, Array]:
    return {"features": ONES}


def held(gate: threading.Event, begun: threading.Event | None = None) -> Callable[[], Mapping[str, Array]]:
    """A request that stays in its lane until the gate opens."""

    def wait() -> Mapping[str, Array]:
        if begun is not None:
            begun.set()
        assert gate.wait(20)
        return read()

    return wait


def test_an_engine_answers_once_started(small: dict[str, Artifact]) -> None:
    async def scenario() -> dict[str, Array]:
        it = engine(small["table"], lanes=1)
        with pytest.raises(NotReadyError, match="the model is being loaded"):
            await it.infer(read)
        await it.start()
        answer = await it.infer(read)
        await it.stop()
        return answer

    assert asyncio.run(scenario())["total"].tolist() == [[4.0], [4.0]]


def test_there_are_as_many_lanes_as_usable_cpus_unless_set(small: dict[str, Artifact]) -> None:
    assert engine(small["table"]).lanes == max(1, int(usable_cpus()))
    assert engine(small["table"], threads=10_000 // 50).lanes == 1
    assert engine(small["table"], lanes=3).lanes == 3


def test_lanes_run_at_the_same_time(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        it = engine(small["table"], lanes=2)
        await it.start()
        both = threading.Barrier(2, timeout=20)  # passed only when two requests are in their lanes together

        def meet() -> Mapping[str, Array]:
            both.wait()
            return read()

        await asyncio.gather(it.infer(meet), it.infer(meet))
        await it.stop()

    asyncio.run(scenario())


def test_one_request_too_many_is_refused_at_once_and_told_when_to_return(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        it, gate = engine(small["table"], lanes=1, max_queue=1), threading.Event()
        await it.start()
        accepted = [asyncio.ensure_future(it.infer(held(gate))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="2 in progress or waiting") as refused:
            await it.infer(read)
        assert refused.value.retry_after_s >= 1
        gate.set()
        assert [answer["total"].shape for answer in await asyncio.gather(*accepted)] == [(2, 1)] * 2
        assert (await it.infer(read))["total"].shape == (2, 1)
        await it.stop()

    asyncio.run(scenario())


def test_stopping_answers_everything_accepted_and_nothing_new(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        it, gate = engine(small["table"], lanes=2), threading.Event()
        await it.start()
        accepted = [asyncio.ensure_future(it.infer(held(gate))) for _ in range(8)]
        await asyncio.sleep(0)
        stopping = asyncio.ensure_future(it.stop())
        await asyncio.sleep(0)
        with pytest.raises(NotReadyError, match="shutting down"):
            await it.infer(read)
        assert not stopping.done()
        gate.set()
        assert len(await asyncio.gather(*accepted)) == 8
        await stopping

    asyncio.run(scenario())


def test_a_caller_that_goes_away_does_not_free_its_lane_twice(small: dict[str, Artifact]) -> None:
    async def scenario() -> None:
        it, gate, begun = engine(small["table"], lanes=1, max_queue=0), threading.Event(), threading.Event()
        await it.start()
        gone = asyncio.ensure_future(it.infer(held(gate, begun)))
        await asyncio.to_thread(begun.wait, 20)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        with pytest.raises(OverloadedError):
            await it.infer(read)
        gate.set()
        await it.stop()

    asyncio.run(scenario())


def test_a_refused_request_leaves_its_place_free(small: dict[str, Artifact]) -> None:
    def refuse() -> Mapping[str, Array]:
        raise RequestError("no")

    async def scenario() -> None:
        it = engine(small["table"], lanes=1, max_queue=0)
        await it.start()
        for _ in range(3):
            with pytest.raises(RequestError, match="no"):
                await it.infer(refuse)
        await it.infer(read)
        await it.stop()

    asyncio.run(scenario())


def test_golden_outputs_that_do_not_match_keep_it_from_being_ready(small: dict[str, Artifact], tmp_path: Path) -> None:
    async def scenario() -> str:
        it = engine(with_golden_outputs(small["table"], tmp_path / "moved", shift=0.5), lanes=1)
        await it.start()
        assert not it.ready
        await it.stop()
        return it.not_ready_because

    assert asyncio.run(scenario()) == "the server is shutting down"


def test_a_model_that_cannot_be_loaded_keeps_it_from_being_ready(small: dict[str, Artifact], tmp_path: Path) -> None:
    async def scenario() -> str:
        it = engine(with_renamed_golden_outputs(small["table"], tmp_path / "renamed"), lanes=1)
        await it.start()
        return it.not_ready_because

    assert asyncio.run(scenario()) == "the model cannot be loaded: KeyError"


def test_rows_are_counted_by_batch_and_by_owner(small: dict[str, Artifact]) -> None:
    table, graph = small["table"].manifest.inputs, small["graph"].manifest.inputs
    assert rows(table, {"features": ONES}) == 2
    golden = small["graph"].golden_inputs()
    assert rows(graph, golden) == 2
