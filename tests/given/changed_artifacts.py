"""Artifacts with another content than the one that they were packed with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lading.artifact import Artifact, tensors_to_bytes, write_artifact
from lading.artifact.manifest import Measurement, Ratio, Timing
from lading.spec import Array


def with_golden_outputs(artifact: Artifact, path: Path, shift: float) -> Artifact:
    """The same artifact, valid checksums and all, whose golden outputs say something else than its model."""
    golden = artifact.golden_outputs()
    return _with_golden(artifact, path, {name: (array + shift).astype(array.dtype) for name, array in golden.items()})


def with_renamed_golden_outputs(artifact: Artifact, path: Path) -> Artifact:
    """The same artifact, valid checksums and all, whose golden outputs are not the model's."""
    return _with_golden(artifact, path, {f"{name}-2": array for name, array in artifact.golden_outputs().items()})


def with_costs(artifact: Artifact, path: Path, cost_ms: Mapping[int, float], **changes: str) -> Artifact:
    """The same artifact with a measured T(b), and perhaps another name or version."""
    timings = tuple(
        Timing(batch=size, threads=1, p50_ms=ms, p90_ms=ms, p99_ms=ms, low_ms=ms, high_ms=ms, runs=1)
        for size, ms in cost_ms.items()
    )
    measured = Measurement(
        scores={},
        agreement=1.0,
        max_difference=0.0,
        size_bytes=1,
        timings=timings,
        speedup=Ratio(value=1.0, low=1.0, high=1.0),
        peak_memory_bytes=1,
    )
    variants = tuple(packed.model_copy(update={"measurement": measured}) for packed in artifact.manifest.variants)
    manifest = artifact.manifest.model_copy(update={"variants": variants, **changes})
    files: dict[str, bytes | Path] = {name: artifact.path / name for name in artifact.manifest.files}
    return write_artifact(path, manifest, files)


def with_files(artifact: Artifact, path: Path, changed: Mapping[str, bytes]) -> Artifact:
    """The same artifact, valid checksums and all, with other content in some files."""
    files: dict[str, bytes | Path] = {name: artifact.path / name for name in artifact.manifest.files}
    files.update(changed)
    return write_artifact(path, artifact.manifest, files)


def _with_golden(artifact: Artifact, path: Path, golden: Mapping[str, Array]) -> Artifact:
    return with_files(artifact, path, {f"golden/{artifact.manifest.chosen}.npz": tensors_to_bytes(golden)})
