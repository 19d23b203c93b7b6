"""The CPU quota of a running server changes, as in a pod that is resized: lanes follow, and no request is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.given.live_server import wait_until
from tests.given.served_process import serving
from tests.given.small_artifacts import table_artifact

pytestmark = pytest.mark.slow
MOUNTS = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))
"""Of cgroup v1, and of v2."""


class Group:
    """A CPU group of the kernel."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def limit(self, cpus: float) -> None:
        quota = round(cpus * 100_000)
        if (self.folder / "cpu.max").exists():
            (self.folder / "cpu.max").write_text(f"{quota} 100000")
        else:
            (self.folder / "cpu.cfs_quota_us").write_text(str(quota))

    def add(self, pid: int) -> None:
        (self.folder / "cgroup.procs").write_text(str(pid))


@pytest.fixture
def group() -> Iterator[Group]:
    for mount in MOUNTS:
        folder = mount / f"lading-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        if (folder / "cpu.max").exists() or (folder / "cpu.cfs_quota_us").exists():
            yield Group(folder)
            folder.rmdir()
            return
        folder.rmdir()
    pytest.skip("this user may not make a CPU group of the kernel")


def shown(url: str) -> dict[str, float]:
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=60).text)
    samples = (sample for family in families for sample in family.samples)
    return {sample.name: sample.value for sample in samples if sample.name in ("lading_usable_cpus", "lading_lanes")}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two CPUs are needed for two lanes")
def test_a_server_follows_its_quota_under_load_and_loses_nothing(tmp_path: Path, group: Group) -> None:
    stop = threading.Event()
    codes: list[int] = []

    def ask(url: str) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not stop.wait(0.01):
                codes.append(client.post("/predict", json={"features": [[1.0, 2.0, 3.0, 4.0]]}).status_code)

    artifact = table_artifact(tmp_path / "table")
    with serving(artifact.path, tmp_path / "log", LADING_DEADLINE_MS="60000") as server:
        group.limit(1)
        group.add(server.process.pid)
        threads = [threading.Thread(target=ask, args=(server.url,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for cpus, lanes in ((1.0, 1.0), (2.0, 2.0), (0.3, 1.0), (2.0, 2.0)):
                group.limit(cpus)
                before = len(codes)
                wanted = {"lading_usable_cpus": cpus, "lading_lanes": lanes}
                wait_until(lambda wanted=wanted: shown(server.url) == wanted, 60)
                wait_until(lambda before=before: len(codes) >= before + 40, 60)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert set(codes) == {200}
    print(f"{len(codes)} requests, all answered")
