"""A long, mixed load on one server: does its memory grow, do its file descriptors leak, does its tail drift?

``make soak`` runs an hour; ``python -m benchmarks.server.soak --minutes 1`` is a short form. Pictures of many sizes and
batches go over REST (plain, raw tensors, gzip) and gRPC (single calls, a stream) at a fixed rate. A latency counts from
when the request was due. Exit code 1 when a limit is passed. Writes ``soak.json`` and ``soak.png``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.server.soak_requests import Ask, requests_for
from lading.artifact import Artifact

THREADS = 4
WINDOWS = (12, 120)
"""Minimum and maximum number of windows in a run, each with one measurement; otherwise one per half minute."""
WARM_UP = 0.2
"""Share of the run before the slopes start, while pools and arenas fill."""


@dataclass
class Window:
    """One measurement."""

    minute: float
    rss_mb: float
    descriptors: int
    threads: int
    p50_ms: float
    p99_ms: float
    answers: int


@dataclass
class Soak:
    """A run and its results."""

    minutes: float
    rate: float
    windows: list[Window] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    rss_mb_per_hour: float = 0.0
    rss_growth_mb: float = 0.0
    descriptors_more: int = 0
    p99_drift: float = 1.0

    def judge(self, *, growth_mb: float, descriptors: int, drift: float) -> list[str]:
        """Fill in the slopes, and return one sentence for each limit that is passed."""
        steady = self.windows[int(len(self.windows) * WARM_UP) :]
        hours = np.array([window.minute / 60 for window in steady])
        rss = np.array([window.rss_mb for window in steady])
        self.rss_mb_per_hour = float(np.polyfit(hours, rss, 1)[0])
        # A slope over seconds says nothing about an hour, so the limit is on the growth until the end.
        quarter = max(1, len(steady) // 4)
        first, last = steady[:quarter], steady[-quarter:]
        self.rss_growth_mb = _median(last, "rss_mb") - _median(first, "rss_mb")
        self.descriptors_more = int(_median(last, "descriptors") - _median(first, "descriptors"))
        self.p99_drift = _median(last, "p99_ms") / max(_median(first, "p99_ms"), 1e-9)
        found = [f"{len(self.failures)} requests failed: {self.failures[0]}"] if self.failures else []
        if self.rss_growth_mb > growth_mb:
            found.append(f"memory grew by {self.rss_growth_mb:.1f} MB; at most {growth_mb:g} are allowed")
        if self.descriptors_more > descriptors:
            found.append(f"{self.descriptors_more} more file descriptors are open; at most {descriptors} may be")
        if self.p99_drift > drift:
            found.append(f"p99 at the end is {self.p99_drift:.2f} times that of the beginning; at most {drift:g}")
        return found


def _median(windows: list[Window], name: str) -> float:
    return float(np.nanmedian([getattr(window, name) for window in windows]))


@contextmanager
def serving(artifact: Path) -> Iterator[tuple[int, str, str]]:
    """``lading serve`` on free ports: process id, HTTP address and gRPC address."""
    command = [sys.executable, "-m", "lading", "serve", str(artifact), "--port", "0", "--grpc-port", "0"]
    with tempfile.NamedTemporaryFile("w+") as log:
        environment = {**os.environ, "LADING_LOG_FORMAT": "json"}
        process = subprocess.Popen(command, stderr=log, env=environment)
        try:
            text = ""
            while '"event": "ready"' not in text:
                if process.poll() is not None:
                    raise SystemExit(f"the server ended: {text}")
                time.sleep(0.1)
                text = Path(log.name).read_text()
            http, grpc = re.search(r"http://[\d.:]+", text), re.search(r'"address": "([\d.:]+)"', text)
            assert http
            assert grpc
            yield process.pid, http[0], grpc[1]
        finally:
            process.terminate()
            process.wait(60)


def measure(pid: int) -> tuple[float, int, int]:
    """Resident megabytes, open file descriptors and threads of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    rss, threads = re.search(r"VmRSS:\s+(\d+)", status), re.search(r"Threads:\s+(\d+)", status)
    assert rss
    assert threads
    return int(rss[1]) / 1e3, len(list(Path(f"/proc/{pid}/fd").iterdir())), int(threads[1])


class _Load:
    """Threads that send on a schedule, without waiting for the previous answer."""

    def __init__(self, asks: list[Ask], rate: float, soak: Soak) -> None:
        self._asks, self._soak = asks, soak
        self._interval = THREADS / rate
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._latencies: list[float] = []
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(THREADS)]

    def __enter__(self) -> _Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def take(self) -> list[float]:
        """Latencies since the last call, in milliseconds."""
        with self._lock:
            taken, self._latencies = self._latencies, []
        return taken

    def _send(self, number: int) -> None:
        rng = np.random.default_rng(number)
        due = time.perf_counter() + self._interval * number / THREADS
        while not self._stop.wait(max(0.0, due - time.perf_counter())):
            ask = self._asks[rng.integers(len(self._asks))]
            try:
                ask.send()
            except Exception as error:  # any exception of a client is a failed request
                self._soak.failures.append(f"{ask.name}: {type(error).__name__}: {error}"[:300])
            with self._lock:
                self._latencies.append((time.perf_counter() - due) * 1e3)
            due += self._interval


def capacity(asks: list[Ask], seconds: float) -> float:
    """Answers per second, one after the other."""
    rng, begin, count = np.random.default_rng(0), time.perf_counter(), 0
    while time.perf_counter() < begin + seconds:
        asks[rng.integers(len(asks))].send()
        count += 1
    return count / (time.perf_counter() - begin)


def run(artifact: Path, minutes: float, share: float) -> Soak:
    """Load a server for some minutes, at a share of its rate with one request at a time."""
    loaded = Artifact.load(artifact)
    with serving(artifact) as (pid, http, grpc), requests_for(loaded, http, grpc) as asks:
        rate = share * capacity(asks, max(3.0, minutes))
        soak = Soak(minutes, round(rate, 2))
        with _Load(asks, rate, soak) as load:
            watch(pid, load, soak)
        httpx.get(f"{http}/readyz").raise_for_status()
    return soak


def watch(pid: int, load: _Load, soak: Soak) -> None:
    """Measure a process at regular times until the run ends."""
    begin = time.perf_counter()
    count = int(np.clip(soak.minutes * 2, *WINDOWS))
    with Console(stderr=True).status("") as status:
        for index in range(count):
            due = begin + (index + 1) * soak.minutes * 60 / count
            time.sleep(max(0.0, due - time.perf_counter()))
            latencies = load.take()
            p50, p99 = np.percentile(latencies or [math.nan], [50, 99])
            minute, found = (time.perf_counter() - begin) / 60, measure(pid)
            soak.windows.append(Window(minute, *found, float(p50), float(p99), len(latencies)))
            status.update(f"{minute:.1f} of {soak.minutes:g} minutes, {found[0]:.0f} MB, p99 {p99:.1f} ms")


def table(soak: Soak) -> Table:
    """The run's first, middle and last windows."""
    shown = Table(title=f"{soak.minutes:g} minutes at {soak.rate:g} requests per second", title_justify="left")
    for name in ("minute", "RSS MB", "descriptors", "threads", "p50 ms", "p99 ms", "answers"):
        shown.add_column(name, justify="right")
    for index in np.linspace(0, len(soak.windows) - 1, 8).astype(int):
        w = soak.windows[index]
        cells = (f"{w.minute:.1f}", f"{w.rss_mb:.1f}", w.descriptors, w.threads, f"{w.p50_ms:.1f}", f"{w.p99_ms:.1f}")
        shown.add_row(*map(str, cells), str(w.answers))
    return shown


def plot(soak: Soak, file: Path) -> None:
    """Memory, descriptors and tail over time."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 1, sharex=True, figsize=(8, 7), constrained_layout=True)
    minutes = [window.minute for window in soak.windows]
    for axis, (name, label) in zip(
        axes, (("rss_mb", "RSS, MB"), ("descriptors", "file descriptors"), ("p99_ms", "p99, ms")), strict=True
    ):
        axis.plot(minutes, [getattr(window, name) for window in soak.windows])
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("minute")
    figure.savefig(file, dpi=100)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Run, write, print. Returns 1 when a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, default=Path("artifacts/cards"))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--share", type=float, default=0.5, help="share of its rate with one request at a time")
    parser.add_argument("--growth-mb", type=float, default=10.0, help="maximum growth of memory")
    parser.add_argument("--descriptors", type=int, default=4, help="maximum increase of file descriptors")
    parser.add_argument("--drift", type=float, default=2.0, help="maximum ratio of p99, end to start")
    parser.add_argument("--output", type=Path, default=Path("build/soak"))
    given = parser.parse_args(arguments)
    soak = run(given.artifact, given.minutes, given.share)
    found = soak.judge(growth_mb=given.growth_mb, descriptors=given.descriptors, drift=given.drift)
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / "soak.json").write_text(json.dumps(asdict(soak) | {"found": found}, indent=1))
    plot(soak, given.output / "soak.png")
    console = Console()
    console.print(table(soak))
    answers = sum(window.answers for window in soak.windows)
    console.print(
        f"{answers} requests, {len(soak.failures)} failed; "
        f"RSS {soak.rss_growth_mb:+.1f} MB ({soak.rss_mb_per_hour:+.1f} MB an hour); "
        f"descriptors {soak.descriptors_more:+d}; p99 x {soak.p99_drift:.2f}; {given.output}/soak.json"
    )
    for sentence in found:
        console.print(f"[red]{sentence}[/red]")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
