"""``lading serve`` within the limits of the chart's pod, and a clock on its probe, its memory and its CPU."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.server.process_clock import cpu_seconds
from tests.given.bentoml_process import free_port
from tests.given.http_exchange import exchange, request
from tests.given.live_server import wait_until
from tests.given.served_process import LADING, ROOT, ServedProcess, serving

EVERY_S = 0.02
PROBE = request("GET", "/livez", None, connection="close")


def chart() -> dict[str, Any]:
    """The chart's default values."""
    values: dict[str, Any] = yaml.safe_load((ROOT / "helm" / "lading" / "values.yaml").read_text())
    return values


def memory_limit_mb() -> float:
    """Memory limit of the chart's pod, in units of 1,000,000 bytes."""
    found = re.fullmatch(r"(\d+)Mi", chart()["resources"]["limits"]["memory"])
    assert found
    return int(found[1]) * 2**20 / 1e6


def chart_settings() -> dict[str, str]:
    """The settings that the chart gives a server, as environment variables."""
    return {f"LADING_{name.upper()}": str(value) for name, value in chart()["settings"].items()}


@dataclass
class Figures:
    """What a request cost its server."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    livez_s: float = 0.0
    """Longest wait of a probe, by the clock."""
    livez_cpu_s: float = 0.0
    """CPU time that the server took during such a wait: its own part, however busy the machine is."""
    peak_mb: float = 0.0


@contextlib.contextmanager
def within_a_pod(artifact: Path, log: Path, **settings: Any) -> Iterator[ServedProcess]:
    """Serve on one CPU, with the chart's settings, until the block ends."""
    with serving(artifact, log, program=(*on_one_cpu(), *LADING), **(chart_settings() | settings)) as served:
        yield served


@contextlib.contextmanager
def behind_bentoml(artifact: Path, log: Path, **settings: str) -> Iterator[ServedProcess]:
    """The same behind BentoML: its port, and its two processes within the limits."""
    port, grpc = free_port(), free_port()
    command = [*on_one_cpu(), sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1", "--port", str(port)]
    named = {"LADING_ARTIFACT": str(artifact), "LADING_HTTP_PORT": "0", "LADING_GRPC_PORT": str(grpc)}
    environment = {**os.environ, **chart_settings(), "BENTOML_HOME": str(log.parent / "home"), **named}
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env=environment | settings, stdout=stream, stderr=stream)
    served = ServedProcess(process, f"http://127.0.0.1:{port}", f"127.0.0.1:{grpc}", log)
    ready = request("GET", "/readyz", None, connection="close")
    try:
        wait_until(lambda: exchange(served.url, ready).status == "200" or process.poll() is not None, 90)
        yield served
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            for pid in _family(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.wait()


def on_one_cpu() -> tuple[str, ...]:
    cpus = sorted(os.sched_getaffinity(0))
    return ("taskset", "-c", str(cpus[os.getpid() % len(cpus)]))  # test processes spread over the CPUs


def _family(pid: int) -> list[int]:
    """A process and its children."""
    pids = [pid]
    for parent in pids:
        pids.extend(int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return pids


@contextlib.contextmanager
def watching(served: ServedProcess) -> Iterator[Figures]:
    """Measure while the block runs; the figures are complete after it."""
    figures, over = Figures(), threading.Event()
    pids = _family(served.process.pid)

    def cpu_of_all() -> float:
        return sum(cpu_seconds(pid) for pid in pids)

    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak starts again from what is resident now
    begin, cpu = time.perf_counter(), cpu_of_all()

    def probe() -> None:
        while not over.wait(EVERY_S):
            before, asked = cpu_of_all(), time.perf_counter()
            answer = exchange(served.url, PROBE)
            assert answer.status == "200", f"/livez: {answer}"
            figures.livez_s = max(figures.livez_s, time.perf_counter() - asked)
            figures.livez_cpu_s = max(figures.livez_cpu_s, cpu_of_all() - before)

    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            probe()
        except BaseException as error:  # the thread that waits raises it
            failed.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield figures
    finally:
        figures.wall_s = time.perf_counter() - begin
        over.set()
        thread.join()
        if served.process.poll() is None:
            figures.cpu_s = cpu_of_all() - cpu
            figures.peak_mb = sum(peak_mb(pid) for pid in pids)
    if failed:
        raise failed[0]


def peak_mb(pid: int) -> float:
    """Most memory that a process has had since its peak was cleared, or since it started."""
    return _status_mb(pid, "VmHWM")


def resident_mb(pid: int) -> float:
    return _status_mb(pid, "VmRSS")


def _status_mb(pid: int, name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024 / 1e6
