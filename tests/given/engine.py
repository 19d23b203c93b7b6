"""The engine by itself: lanes, batches, admission by deadline, readiness, draining."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from lading.artifact import Artifact
from lading.serve.engine.model import Job, ServedModel
from lading.serve.http.app import App
from lading.serve.telemetry.exposition import exposition
from lading.settings import Settings
from lading.spec import Array

ONES = np.ones((2, 4), dtype=np.float32)


def app_of(artifact: Artifact, **settings: object) -> App:
    return App(Settings(**settings), artifacts=[artifact])  # type: ignore[arg-type]


@asynccontextmanager
async def started(artifact: Artifact, **settings: object) -> AsyncIterator[tuple[App, ServedModel]]:
    app = app_of(artifact, **settings)
    await app.start()
    yield app, app.repository.find()
    await app.stop()


Read = Callable[[], Mapping[str, Array]]


@dataclass
class Given:
    """A codec that reads what a test gives."""

    given: Read
    brief: bool = False
    message_id: str | None = None
    writers: list[str] = field(default_factory=list)
    """Names of the threads that wrote its answer."""

    def read(self, _: None) -> Mapping[str, Array]:
        return self.given()

    def write(self, _: Mapping[str, Array]) -> str:
        self.writers.append(threading.current_thread().name)
        return "written"


class Awaited(Job):
    """A request that sets a future."""

    __slots__ = ("answer",)

    def __init__(self, model: ServedModel, codec: Given, deadline: float, size: int) -> None:
        super().__init__()
        self.model, self.codec, self.body, self.deadline, self.size = model, codec, None, deadline, size
        self.answer: asyncio.Future[dict[str, Array]] = asyncio.get_running_loop().create_future()

    def done(self, result: Mapping[str, Array] | BaseException) -> None:
        if self.answer.done():
            return
        if isinstance(result, BaseException):
            self.answer.set_exception(result)
        else:
            self.answer.set_result(dict(result))


async def infer(
    app: App,
    model: ServedModel,
    given: Read,
    *,
    deadline: float = math.inf,
    size: int = 0,
    brief: bool = False,
) -> dict[str, Array]:
    """Have an engine admit and answer one request; when this is cancelled, the request leaves the queue."""
    app.engine.admit(model, deadline, size)
    job = Awaited(model, Given(given, brief), deadline, size)
    app.engine.submit(job)
    try:
        return await job.answer
    finally:
        job.abandoned = True


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


async def in_lane(
    app: App, model: ServedModel, gate: threading.Event, *, deadline: float = math.inf
) -> asyncio.Task[dict[str, Array]]:
    """Keep one lane busy until the gate opens."""
    begun = threading.Event()
    task = asyncio.create_task(infer(app, model, held(gate, begun), deadline=deadline))
    while not begun.is_set():
        await asyncio.sleep(0.001)
    return task


def value(app: App, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(exposition(app.metrics).body.decode()):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    raise AssertionError(f"no sample {name}")
