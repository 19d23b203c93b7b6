"""Whether this worker, and all of them together, are alive and ready."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

from lading.serve.engine.engine import Engine
from lading.serve.engine.repository import Repository
from lading.serve.telemetry.metrics import SHARED_FOLDER, Metrics
from lading.settings import Settings

BEAT_S = 1.0


class Health:
    """What probes are answered from.

    Args:
        engine: alive while every lane that hangs can be replaced.
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
        """False when a lane hangs and cannot be replaced, here or in another worker."""
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

    @property
    def replacing(self) -> bool:
        """Whether other workers serve already, so that this one replaces one that ended."""
        return self._group is not None and self._group.serving

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


STALE_S = 30.0
"""A worker without a heartbeat for this long counts as dead (longer than any restart)."""


def share_of_one(settings: Settings) -> Settings:
    """The settings of one worker: its part of the lanes and of every limit that is meant for the whole server."""
    count = settings.workers
    if count == 1:
        return settings
    return settings.model_copy(
        update={
            "lanes": -(-settings.lanes // count),  # 0: the engine divides the CPUs, whose number may change
            "max_queue": -(-settings.max_queue // count),
            "max_queue_mb": settings.max_queue_mb / count,
            "max_connections": -(-settings.max_connections // count),
        }
    )


class WorkerGroup:
    """The workers that share a folder.

    Args:
        folder: theirs alone, and empty when the first of them starts.
        count: how many there should be.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count

    @classmethod
    def from_environment(cls, count: int) -> WorkerGroup | None:
        """The group that this process was started in; ``None`` when it is the only worker."""
        folder = os.environ.get(SHARED_FOLDER)
        return cls(Path(folder), count) if count > 1 and folder else None

    def beat(self, *, ready: bool, alive: bool) -> None:
        """Show that this worker is ready and alive; called once a second. One that never becomes ready is not alive."""
        if ready:
            self._file("ready").touch()
        if ready and alive:
            self._file("alive").touch()

    @property
    def missing(self) -> int:
        """How many workers have not been ready yet; one that died and comes back does not count again."""
        return max(0, self.count - len(list(self.folder.glob("ready-*"))))

    @property
    def alive(self) -> bool:
        """False when, once all were ready, there have been too few live workers for :data:`STALE_S` seconds."""
        newest = time.time() - STALE_S
        beating = 0
        for file in (*self.folder.glob("alive-*"), *self.folder.glob("ended-*")):
            try:
                beating += file.stat().st_mtime > newest
            except FileNotFoundError:
                continue
        return beating >= self.count or bool(self.missing)

    @property
    def serving(self) -> bool:
        """True when all have been ready once, and one of them runs now."""
        return not self.missing and bool(self.pids())

    def pids(self) -> list[int]:
        """The workers that run now."""
        found = [int(file.name.partition("-")[2]) for file in self.folder.glob("alive-*")]
        return [pid for pid in found if Path(f"/proc/{pid}").exists()]

    def forget(self, pid: int) -> None:
        """A worker has ended: its gauges no longer count. Its end counts as a heartbeat, until it is replaced."""
        from prometheus_client.multiprocess import mark_process_dead

        with contextlib.suppress(FileNotFoundError):  # it was never ready
            ended = (self.folder / f"alive-{pid}").rename(self.folder / f"ended-{pid}")
            ended.touch()  # one that hung had its last heartbeat long ago
        mark_process_dead(pid, str(self.folder))  # type: ignore[no-untyped-call]

    def _file(self, kind: str) -> Path:
        return self.folder / f"{kind}-{os.getpid()}"
