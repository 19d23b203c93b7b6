"""Clients that retry at once neither take the goodput nor outlast the overload."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from benchmarks.server.retrying import one_of, overload
from tests.given.small_artifacts import slow_artifact
from tests.given.watched_server import within_a_pod


@pytest.mark.slow
def test_retrying_clients_at_twice_the_peak_get_nearly_all_of_it_and_are_over_within_seconds(tmp_path: Path) -> None:
    slow = slow_artifact(tmp_path / "slow", products=9)
    with within_a_pod(slow.path, tmp_path / "log") as served:
        run = uvloop.run(overload(served.url, served.process.pid, one_of(slow), 10))
    print(run)
    # By the server's CPU time, which other work on the machine changes by a tenth. The ratio itself is measured by
    # benchmarks/studies/0022_retrying_clients.py.
    assert run.during.good_per_cpu_s >= 0.75 * min(run.peak.per_cpu_s, run.later.per_cpu_s), run
    assert run.after.normal_after() <= 5
