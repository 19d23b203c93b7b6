"""What workers know of each other: heartbeats, readiness, and their part of the limits."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lading.serve.health import STALE_S, WorkerGroup, share_of_one
from lading.settings import Settings


def test_readiness_waits_for_every_worker_and_liveness_for_none_to_be_missed(tmp_path: Path) -> None:
    group = WorkerGroup(tmp_path, 2)
    assert (group.missing, group.alive) == (2, True)
    group.beat(ready=False, alive=True)
    assert group.missing == 2
    group.beat(ready=True, alive=True)
    other = tmp_path / "alive-999999"
    (tmp_path / "ready-999999").touch()
    other.touch()
    assert (group.missing, group.alive, group.pids()) == (0, True, [os.getpid()])
    long_ago = time.time() - STALE_S - 1
    os.utime(other, (long_ago, long_ago))
    assert not group.alive
    (tmp_path / "alive-999998").touch()  # it came back
    assert group.alive
    group.forget(999999)
    assert (group.missing, group.alive, other.exists()) == (0, True, False)


def test_liveness_waits_for_the_worker_that_replaces_one_that_ended(tmp_path: Path) -> None:
    group = WorkerGroup(tmp_path, 2)
    group.beat(ready=True, alive=True)
    for kind in ("ready", "alive"):
        (tmp_path / f"{kind}-999999").touch()
    group.forget(999999)
    assert (group.missing, group.alive, group.pids()) == (0, True, [os.getpid()])
    long_ago = time.time() - STALE_S - 1
    os.utime(tmp_path / "ended-999999", (long_ago, long_ago))
    assert not group.alive
    group.forget(999998)  # it never became ready, so it had no heartbeat
    assert not group.alive


def test_a_worker_that_hung_counts_as_missing_from_its_end_on(tmp_path: Path) -> None:
    group = WorkerGroup(tmp_path, 2)
    group.beat(ready=True, alive=True)
    for kind in ("ready", "alive"):
        (tmp_path / f"{kind}-999999").touch()
    long_ago = time.time() - STALE_S - 1
    os.utime(tmp_path / "alive-999999", (long_ago, long_ago))
    assert not group.alive
    group.forget(999999)
    assert group.alive


def test_a_worker_waits_with_its_ports_only_while_another_serves(tmp_path: Path) -> None:
    group = WorkerGroup(tmp_path, 2)
    group.beat(ready=True, alive=True)
    assert not group.serving  # the other one has not been ready yet
    (tmp_path / "ready-999999").touch()
    (tmp_path / "alive-999999").touch()
    assert group.serving
    group.forget(os.getpid())
    assert (group.missing, group.serving) == (0, False)


def test_a_worker_that_is_not_ready_has_no_heartbeat(tmp_path: Path) -> None:
    group = WorkerGroup(tmp_path, 1)
    group.beat(ready=False, alive=True)
    assert list(tmp_path.iterdir()) == []


def test_the_limits_are_shared_out() -> None:
    settings = Settings(workers=2, lanes=5, max_queue=9, max_queue_mb=10, max_connections=3)
    one = share_of_one(settings)
    assert (one.lanes, one.max_queue, one.max_queue_mb, one.max_connections) == (3, 5, 5.0, 2)
    alone = Settings(lanes=5)
    assert share_of_one(alone) is alone
