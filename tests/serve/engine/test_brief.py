"""Models whose run is shorter than the way to a lane and back: small requests are answered on the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lading.artifact import Artifact
from lading.errors import RequestError
from lading.serve.engine.model import ServedModel
from lading.serve.http.app import App
from lading.spec import Array
from tests.given.changed_artifacts import with_costs
from tests.given.engine import in_lane, infer, read, started, value


def brief_artifact(artifact: Artifact, path: Path) -> Artifact:
    """A model that was measured to take 0.01 ms, and less for each example of a batch."""
    return with_costs(artifact, path, {1: 0.01, 8: 0.02})


def test_small_requests_to_a_brief_model_that_come_in_one_turn_of_the_loop_share_a_run_there(
    small: dict[str, Artifact], tmp_path: Path
) -> None:
    def refuse() -> Mapping[str, Array]:
        raise RequestError("no")

    async def scenario() -> None:
        async with started(brief_artifact(small["table"], tmp_path / "brief"), lanes=1) as (app, model):
            gate = threading.Event()
            threads: list[str] = []

            def note() -> Mapping[str, Array]:
                threads.append(threading.current_thread().name)
                return read()

            first = await in_lane(app, model, gate)  # the lane is busy, and nobody needs it
            asked = [infer(app, model, one, brief=True) for one in (note, refuse, note, *[note] * 9)]
            good, bad, *others = await asyncio.gather(*asked, return_exceptions=True)
            assert isinstance(bad, RequestError)
            assert all(isinstance(one, dict) and one["total"].tolist() == [[4.0], [4.0]] for one in (good, *others))
            assert set(threads) == {threading.main_thread().name}
            # Each has two examples, and a run has room for eight: of the first eight seven are good, of the rest four.
            assert value(app, "lading_batch_size_count", model="small-table") == 3
            gate.set()
            await first

    asyncio.run(scenario())


def test_what_is_not_brief_goes_to_a_lane(small: dict[str, Artifact], tmp_path: Path) -> None:
    async def thread(app: App, model: ServedModel, **how: Any) -> str:
        names: list[str] = []

        def note() -> Mapping[str, Array]:
            names.append(threading.current_thread().name)
            return read()

        await infer(app, model, note, **how)
        return names[0]

    async def scenario() -> None:
        brief = brief_artifact(small["table"], tmp_path / "brief")
        async with started(brief, lanes=1) as (app, model):
            assert await thread(app, model, brief=True) == threading.main_thread().name
            assert await thread(app, model) == "lane-0"
            assert await thread(app, model, brief=True, size=100_000) == "lane-0"
        async with started(brief, lanes=1, brief_ms=0) as (app, model):
            assert await thread(app, model, brief=True) == "lane-0"
        async with started(brief, lanes=4, brief_ms=0.03) as (app, model):
            assert (await thread(app, model, brief=True)).startswith("lane-")
        async with started(small["table"], lanes=1) as (app, model):  # nobody has measured it
            assert await thread(app, model, brief=True) == "lane-0"

    asyncio.run(scenario())
