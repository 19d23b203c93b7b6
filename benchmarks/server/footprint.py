"""What a server takes before it answers, and while it does: seconds to start, and resident memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx

from benchmarks import ROOT
from benchmarks.server.bench import Bench, add_round, console
from benchmarks.server.load import Target, run
from benchmarks.server.peer_environment import compile_packages
from benchmarks.server.peer_list import LADING
from benchmarks.server.running_peer import refuse_taken, target_of

PROC = Path("/proc")


def measure_start(bench: Bench, port: int = 17_600) -> None:
    """One start of ``lading serve`` with all its ports, as a container starts it, to its first 200 of ``/readyz``."""
    asked = target_of(LADING, bench.model, port)
    seconds, process = _start(bench, asked, port)
    try:
        idle = resident_mb(process.pid)
        run(asked, seconds=3.0, connections=8)
        found = {"start_s": seconds, "idle_mb": idle, "loaded_mb": resident_mb(process.pid)}
    finally:
        process.terminate()
        process.wait(20)
    console.print(", ".join(f"{name} {value:.2f}" for name, value in found.items()))
    add_round("start", found)


def _start(bench: Bench, asked: Target, port: int) -> tuple[float, subprocess.Popen[bytes]]:
    variables = os.environ | {
        "LADING_ARTIFACT": str(bench.artifact),
        "LADING_HTTP_PORT": str(port),
        "LADING_GRPC_PORT": str(port + 1),
    }
    python = Path(sys.executable)
    compile_packages(python)
    command = [str(python.with_name("lading")), "serve"]
    refuse_taken(port)
    begin = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=variables,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, bench.servers),  # noqa: PLW1509 - no threads here
    )
    ready = asked.url.replace("/classify", "/readyz").replace("/predict", "/readyz")
    with httpx.Client(timeout=5) as client:
        while time.perf_counter() < begin + 60:
            try:
                if client.get(ready).status_code == httpx.codes.OK:
                    return time.perf_counter() - begin, process
            except httpx.TransportError:
                pass
            time.sleep(0.005)
    process.kill()
    raise RuntimeError("lading serve did not become ready within a minute")


def resident_mb(pid: int) -> float:
    """Resident memory (VmRSS) of a process, those of its group and those it started, in megabytes."""
    return sum(_resident(one) for one in family(pid)) / 1e6


def family(pid: int) -> set[int]:
    """A process, those of its group, and those that they started."""
    parents: dict[int, int] = {}
    found = {pid}
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)] = int(fields[1])
        if int(fields[2]) == pid:
            found.add(int(entry.name))
    while more := {child for child, parent in parents.items() if parent in found and child not in found}:
        found |= more
    return found


def _resident(pid: int) -> int:
    try:
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
