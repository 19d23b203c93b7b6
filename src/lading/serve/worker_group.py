"""What the worker processes of one server know of each other: a file each, in the folder that holds their metrics.

A probe reaches whichever worker accepts its connection, and has to speak for all of them.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from lading.machine import usable_cpus
from lading.metrics import SHARED_FOLDER
from lading.settings import Settings

STALE_S = 30.0
"""A worker that has not said for this long that it is alive is dead, or hangs; a restart takes less."""


def share_of_one(settings: Settings) -> Settings:
    """The settings of one worker: its part of the lanes and of every limit that is meant for the whole server."""
    count = settings.workers
    if count == 1:
        return settings
    lanes = settings.lanes or max(1, int(usable_cpus() / settings.threads))
    return settings.model_copy(
        update={
            "lanes": -(-lanes // count),
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
        """Say that this worker is there; called once a second."""
        if ready:
            self._file("ready").touch()
        if alive:
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
        for file in self.folder.glob("alive-*"):
            try:
                beating += file.stat().st_mtime > newest
            except FileNotFoundError:
                continue
        return beating >= self.count or bool(self.missing)

    def pids(self) -> list[int]:
        """The workers that run now."""
        found = [int(file.name.partition("-")[2]) for file in self.folder.glob("alive-*")]
        return [pid for pid in found if Path(f"/proc/{pid}").exists()]

    def forget(self, pid: int) -> None:
        """A worker has ended: its heartbeat and what it measured of its present state are void."""
        from prometheus_client.multiprocess import mark_process_dead

        (self.folder / f"alive-{pid}").unlink(missing_ok=True)
        mark_process_dead(pid, str(self.folder))  # type: ignore[no-untyped-call]

    def _file(self, kind: str) -> Path:
        return self.folder / f"{kind}-{os.getpid()}"
