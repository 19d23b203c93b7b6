"""``lading inspect`` shows what is in an artifact."""

from __future__ import annotations

from lading.artifact.manifest import Measurement, Ratio, ScoreDrop, Timing

TIMING = Timing(batch=1, threads=1, p50_ms=1.25, p90_ms=1.5, p99_ms=2.0, low_ms=1.2, high_ms=1.3, runs=100)
MEASURED = Measurement(
    scores={"test": 0.9712},
    score_drop=ScoreDrop(value=0.001, low=-0.002, high=0.004, examples=2120, loss_deviation=0.06, largest_loss=1.0),
    agreement=0.995,
    max_difference=0.01,
    size_bytes=3 * 2**20,
    timings=(TIMING,),
    speedup=Ratio(value=2.5, low=2.4, high=2.6),
    speedup_torch=Ratio(value=8.75, low=8.5, high=9.0),
    peak_memory_bytes=1,
)
