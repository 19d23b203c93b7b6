"""What a load came to, and the load as a process beside the test."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict


class StreamReport(TypedDict):
    """The requests of one kind."""

    sent: int
    failed: dict[str, int]
    p50_ms: float
    p99_ms: float


class Second(TypedDict):
    """The requests that were due in one second: answered, refused for overload, or neither."""

    sent: int
    answered: int
    shed: int
    lost: int
    p50_ms: float
    p99_ms: float


@dataclass
class Report:
    """Of one load, all streams together and each by itself."""

    begun: float = 0.0
    """Unix time."""
    streams: dict[str, StreamReport] = field(default_factory=dict)
    seconds: list[Second] = field(default_factory=list)

    @property
    def sent(self) -> int:
        return sum(stream["sent"] for stream in self.streams.values())

    @property
    def failed(self) -> int:
        return sum(sum(stream["failed"].values()) for stream in self.streams.values())

    def __str__(self) -> str:
        lines = [f"{self.sent} requests in {len(self.seconds)} s, {self.failed} failed"]
        for name, stream in self.streams.items():
            times = f"p50 {stream['p50_ms']:.1f} ms, p99 {stream['p99_ms']:.1f} ms"
            lines.append(f"  {name}: {stream['sent']}, {times}, {stream['failed']}")
        return "\n".join(lines)


@contextlib.contextmanager
def under_load(url: str, address: str, photo: Path, rate: float | str, *options: str) -> Iterator[Report]:
    """Send load to the cards model from another process while the block runs; the report is filled in at its end."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        words = [sys.executable, "-m", "tests.e2e.cluster.load", url, address, str(photo), "cards", str(out)]
        process = subprocess.Popen([*words, "--rate", str(rate), *options])
        try:
            time.sleep(2.0)  # so that there is load before the first change
            yield report
            time.sleep(2.0)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
        for name, value in json.loads(out.read_text()).items():
            setattr(report, name, value)
    print(report)
