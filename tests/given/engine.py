"""The engine by itself: lanes, batches, admission by deadline, readiness, draining."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from lading.artifact import Artifact
from lading.serve.engine.model import ServedModel
from lading.serve.http.app import App
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


async def in_lane(app: App, model: ServedModel, gate: threading.Event) -> asyncio.Task[dict[str, Array]]:
    """Keep one lane busy until the gate opens."""
    begun = threading.Event()
    task = asyncio.create_task(app.engine.infer(model, held(gate, begun)))
    await asyncio.to_thread(begun.wait, 20)
    return task


def value(app: App, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(app.metrics.exposition().decode()):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    raise AssertionError(f"no sample {name}")
