"""The load generator: oha (https://github.com/hatoo/oha), closed loop or open loop from the intended send time."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import WORK

OHA = "1.16.0"


@dataclass(frozen=True)
class Load:
    """What one run of the generator saw."""

    rate: float
    """Answers with status 200 per second."""
    percentiles: dict[str, float]
    """Milliseconds, of answers with status 200; the keys are ``50``, ``99``, ``99.9``."""
    codes: dict[str, int]
    failed: int
    """Requests without an answer."""

    @property
    def p50(self) -> float:
        """Median latency in milliseconds."""
        return self.percentiles["50"]

    @property
    def p99(self) -> float:
        """99th percentile of the latency in milliseconds."""
        return self.percentiles["99"]

    def within(self, ms: float) -> float:
        """Answers per second within ``ms``, down to the next known percentile."""
        shares = [float(key) for key, value in self.percentiles.items() if value <= ms]
        return self.rate * (1.0 if self.percentiles["99.9"] <= ms else max(shares, default=0.0) / 100)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Target:
    """The request that is repeated."""

    url: str
    body: Path
    content_type: str
    headers: tuple[str, ...] = ()


def oha() -> str:
    """The generator's path; it is built when it is missing, which takes some minutes.

    Raises:
        FileNotFoundError: neither oha nor cargo is installed.
    """
    own = WORK / "oha" / "bin" / "oha"
    found = shutil.which("oha") or (str(own) if own.exists() else None)
    if found is not None:
        return found
    cargo = shutil.which("cargo")
    if cargo is None:
        raise FileNotFoundError(
            "oha is not installed, and no cargo to build it with: https://rustup.rs, or put oha on the path"
        )
    subprocess.run([cargo, "install", "oha", "--version", OHA, "--locked", "--root", str(WORK / "oha")], check=True)
    return str(own)


def run(target: Target, *, seconds: float, connections: int, rate: float | None = None) -> Load:
    """Send for ``seconds``: the next request after each answer, or ``rate`` requests per second."""
    command = [oha(), "-z", f"{seconds}s", "-c", str(connections), "--no-tui", "--output-format", "json", "-m", "POST"]
    command += ["--stats-success-breakdown", "-D", str(target.body), "-T", target.content_type]
    for header in target.headers:
        command += ["-H", header]
    if rate is not None:
        # Latency counts from when a request should have been sent, so that a stall is not left out.
        command += ["-q", f"{rate:.1f}", "--latency-correction"]
    command.append(target.url)
    # Pinned as the harness itself is.
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    return parse(json.loads(result.stdout))


def parse(report: dict[str, Any]) -> Load:
    """Read oha's JSON."""
    codes = {str(code): int(count) for code, count in report["statusCodeDistribution"].items()}
    seconds = float(report["summary"]["total"])
    # Percentiles of the successful ones, where the version tells them apart.
    percentiles = report.get("latencyPercentilesSuccessful") or report["latencyPercentiles"]
    milliseconds = {key.removeprefix("p"): float(value or 0.0) * 1e3 for key, value in percentiles.items()}
    failed = sum(int(count) for kind, count in report.get("errorDistribution", {}).items() if "deadline" not in kind)
    return Load(codes.get("200", 0) / seconds, milliseconds, codes, failed)
