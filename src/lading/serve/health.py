"""Alive and ready, as every port says it: of this process, and of all workers where there are several."""

from __future__ import annotations

import asyncio
import contextlib

from lading.metrics import Metrics
from lading.serve.engine import Engine
from lading.serve.repository import Repository
from lading.serve.worker_group import WorkerGroup

BEAT_S = 1.0


class Health:
    """What probes are answered from.

    Args:
        engine: alive while no lane has died or hangs.
        repository: ready once every model has been loaded and verified.
        metrics: refreshed with each heartbeat, so that other workers can show them.
        group: the other workers; ``None`` when there are none.
    """

    def __init__(
        self, engine: Engine, repository: Repository, metrics: Metrics, group: WorkerGroup | None = None
    ) -> None:
        self._engine, self._repository, self._metrics = engine, repository, metrics
        self._group = group
        self._beating: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """False when a lane has died or hangs, here or in another worker."""
        return self._engine.alive and (self._group is None or self._group.alive)

    @property
    def ready(self) -> bool:
        """True when requests can be sent here."""
        return not self.not_ready_because

    @property
    def not_ready_because(self) -> str:
        """Why :attr:`ready` is false; empty when it is not."""
        own = self._repository.not_ready_because
        missing = self._group.missing if self._group is not None and not own else 0
        return f"{missing} of the workers have not loaded their models yet" if missing else own

    def start(self) -> None:
        """Begin to tell the other workers of this one."""
        if self._group is not None:
            self._beat()
            self._beating = asyncio.get_running_loop().create_task(self._keep_beating())

    async def all_ready(self) -> None:
        """Return once the other workers are ready too, if this one is."""
        while self._group is not None and self._repository.ready and self._group.missing:
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Tell them nothing more."""
        if self._beating is not None:
            self._beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beating

    def _beat(self) -> None:
        assert self._group is not None
        self._group.beat(ready=self._repository.ready, alive=self._engine.alive)
        self._metrics.refresh()

    async def _keep_beating(self) -> None:
        while True:
            # Sooner until it is ready, so that a start is not a second longer than it must be.
            await asyncio.sleep(BEAT_S if self._repository.ready else BEAT_S / 20)
            self._beat()
