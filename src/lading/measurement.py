"""What was measured of a variant, as it travels inside the manifest."""

from __future__ import annotations

from pydantic import Field

from lading.spec import Frozen


class Machine(Frozen):
    """The machine that the figures belong to."""

    cpu: str
    cores: int
    """CPUs this process may use."""
    flags: tuple[str, ...] = ()
    """Of the instruction sets, those that decide int8 and bf16 speed: avx2, avx512_vnni, avx_vnni, amx_int8 ..."""
    onnxruntime: str
    torch: str = ""
    python: str = ""
    os: str = ""


class Timing(Frozen):
    """Latency of one session at one batch size and thread count, pooled over interleaved rounds."""

    batch: int = Field(ge=1)
    threads: int = Field(ge=1)
    p50_ms: float
    p90_ms: float
    p99_ms: float
    low_ms: float
    """Lower end of the 95 % bootstrap interval of the median of the rounds' medians."""
    high_ms: float
    runs: int

    @property
    def throughput(self) -> float:
        """Examples a second of one caller."""
        return 1000.0 * self.batch / self.p50_ms


class Ratio(Frozen):
    """A quotient of medians from the same rounds, with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Measurement(Frozen):
    """Everything verify found out about one variant."""

    scores: dict[str, float]
    """Score by split, held-out first."""
    agreement: float
    """Share of examples on which every labelled output has the same most likely label as fp32, 0 to 1."""
    max_difference: float
    """Largest absolute difference from fp32 over all outputs."""
    size_bytes: int
    timings: tuple[Timing, ...]
    speedup: Ratio
    """Of fp32 over this variant, batch 1, one thread."""
    speedup_torch: Ratio | None = None
    """Of torch eager over this variant, batch 1, one thread."""
    round_ms: tuple[float, ...] = ()
    """Median milliseconds of each round, batch 1, one thread; all variants were in the same rounds."""
    peak_memory_bytes: int
    """Growth of the process's peak resident size from before the session was made, largest batch run."""

    @property
    def cost(self) -> dict[int, float]:
        """T(b): median milliseconds of a batch of b on one thread; the batcher reads this."""
        return {timing.batch: timing.p50_ms for timing in self.timings if timing.threads == 1}


class Baseline(Frozen):
    """A torch runner measured in the same rounds."""

    name: str
    """``torch eager`` or ``torch.compile``."""
    timings: tuple[Timing, ...]
