"""A worker that ends says how, and is counted."""

from __future__ import annotations

import signal
from pathlib import Path

from lading.machine import oom_kills
from lading.serve.worker_end import WorkerEnds, ended_workers, how_it_ended


def test_an_end_is_a_sentence() -> None:
    assert how_it_ended(3) == "a worker ended with exit code 3"
    assert how_it_ended(-signal.SIGSEGV) == "a worker was killed by SIGSEGV"
    assert how_it_ended(-signal.SIGKILL).startswith("a worker was killed by SIGKILL, most likely for memory")
    assert how_it_ended(-signal.SIGKILL, oom=True).startswith("a worker was killed by the kernel for memory (SIGKILL)")
    assert how_it_ended(-200) == "a worker was killed by signal 200"


def test_ends_are_counted_in_the_folder_of_the_workers(tmp_path: Path) -> None:
    assert ended_workers(tmp_path) == 0
    ends = WorkerEnds(tmp_path)
    ends.note(1, -9, then="it is started again")
    ends.note(2, 1, "no memory", then="it is started again")
    assert ended_workers(tmp_path) == 2
    WorkerEnds(None).note(3, 1, then="the server ends")
    assert ended_workers(tmp_path) == 2


def test_kills_of_the_kernel_are_read_from_both_versions_of_cgroups(tmp_path: Path) -> None:
    assert oom_kills(tmp_path) == 0
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert oom_kills(tmp_path) == 3
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n")
    assert oom_kills(tmp_path) == 1
