"""The load generator: oha (https://github.com/hatoo/oha), closed loop or open loop from the intended send time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Load:
    """What one run of the generator saw; latencies in milliseconds, of answers with status 200."""

    rate: float
    """Answers with status 200 a second."""
    p50: float
    p99: float
    p999: float
    codes: dict[str, int]
    failed: int
    """Requests without an answer."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Target:
    """What is asked: one request, repeated."""

    url: str
    body: Path
    content_type: str
    headers: tuple[str, ...] = ()


def oha() -> str:
    """The generator's path.

    Raises:
        FileNotFoundError: it is not installed.
    """
    found = shutil.which("oha") or shutil.which("oha", path=Path.home() / ".cargo" / "bin")
    if found is None:
        raise FileNotFoundError("oha is not installed: cargo install oha --locked")
    return found


def run(target: Target, *, seconds: float, connections: int, cores: set[int], rate: float | None = None) -> Load:
    """Ask for ``seconds``: as fast as the answers come, or ``rate`` a second whatever comes."""
    command = [oha(), "-z", f"{seconds}s", "-c", str(connections), "--no-tui", "--output-format", "json", "-m", "POST"]
    command += ["-D", str(target.body), "-T", target.content_type]
    for header in target.headers:
        command += ["-H", header]
    if rate is not None:
        # Latency counts from when a request should have been sent, so that a stall is not left out.
        command += ["-q", f"{rate:.1f}", "--latency-correction"]
    command.append(target.url)
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    return parse(json.loads(result.stdout))


def parse(report: dict[str, Any]) -> Load:
    """Read oha's JSON."""
    codes = {str(code): int(count) for code, count in report["statusCodeDistribution"].items()}
    seconds = float(report["summary"]["total"])
    # Percentiles of the successful ones, where the version tells them apart.
    percentiles = report.get("latencyPercentilesSuccessful") or report["latencyPercentiles"]
    p50, p99, p999 = (float(percentiles[key] or 0.0) * 1e3 for key in ("p50", "p99", "p99.9"))
    failed = sum(int(count) for kind, count in report.get("errorDistribution", {}).items() if "deadline" not in kind)
    return Load(codes.get("200", 0) / seconds, p50, p99, p999, codes, failed)
