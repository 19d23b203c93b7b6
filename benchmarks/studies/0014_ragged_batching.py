"""Does it pay that molecules of different sizes share a run? Decision 14: yes, under load.

    python -m benchmarks.studies.0014_ragged_batching artifacts/molecules

The second server gets the same artifact with a cost table that has batch 1 alone, so that each request is a run of its
own. The servers take turns on one core; the load generator has another.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.server.bench import bench_of
from benchmarks.server.load import Load, run
from benchmarks.server.peer_list import LADING
from benchmarks.server.running_peer import serving
from lading.artifact import Artifact, write_artifact

PORT = 17_800


def main(
    artifact: Annotated[Path, typer.Argument(help="what `lading build` made")] = Path("artifacts/molecules"),
    rounds: int = 3,
    seconds: float = 4.0,
    connections: Annotated[int, typer.Option(help="closed loop")] = 64,
    cores: Annotated[tuple[int, int], typer.Option(help="the servers' and the load generator's")] = (0, 1),
) -> None:
    """Compare ragged batching with one run a request."""
    bench = bench_of("molecules", str(cores[0]), str(cores[1]), artifact)
    seen: dict[str, list[Load]] = {"shared runs": [], "one run a request": []}
    with tempfile.TemporaryDirectory() as folder:
        alone = _without_batches(Artifact.load(artifact), Path(folder) / "alone")
        benches = dict(zip(seen, (bench, replace(bench, artifact=alone.path)), strict=True))
        for _ in range(rounds):
            for name, one in benches.items():
                with serving(one, LADING, PORT, LADING_LANES="1") as running:
                    run(running.target, seconds=min(1.0, seconds), connections=connections)
                    seen[name].append(run(running.target, seconds=seconds, connections=connections))
    table = Table(f"{connections} connections", "requests/s", "p50 ms", "p99 ms")
    for name, loads in seen.items():
        middle = [statistics.median(getattr(load, key) for load in loads) for key in ("rate", "p50", "p99")]
        table.add_row(name, f"{middle[0]:.0f}", *(f"{value:.2f}" for value in middle[1:]))
    Console().print(table)


def _without_batches(artifact: Artifact, path: Path) -> Artifact:
    variants = []
    for packed in artifact.manifest.variants:
        measured = packed.measurement
        if measured is not None:
            single = tuple(timing for timing in measured.timings if timing.batch == 1)
            measured = measured.model_copy(update={"timings": single})
        variants.append(packed.model_copy(update={"measurement": measured}))
    manifest = artifact.manifest.model_copy(update={"variants": tuple(variants)})
    return write_artifact(path, manifest, {name: artifact.path / name for name in artifact.manifest.files})


if __name__ == "__main__":
    typer.run(main)
