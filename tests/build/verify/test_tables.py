"""``lading inspect`` shows what is in an artifact."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from lading.artifact import Artifact, write_artifact
from lading.artifact.manifest import Baseline, Machine, Provenance, RefusedVariant
from lading.build.verify.tables import describe
from lading.spec import Quantization, Variant
from tests.given.measured import MEASURED, TIMING


@pytest.fixture
def artifact(tiny_artifact: Artifact, tmp_path: Path) -> Artifact:
    """The tiny artifact with every field filled in."""
    manifest = tiny_artifact.manifest
    refused = RefusedVariant(
        variant=Variant(name="small", quantization=Quantization(method="dynamic")),
        precision="int8-dynamic",
        reasons=("slower than fp32", "score [too] low"),
        measurement=MEASURED,
    )
    unbuilt = RefusedVariant(variant=Variant(name="fp16"), precision="fp16", reasons=("cannot be converted",))
    full = manifest.model_copy(
        update={
            "variants": (manifest.variants[0].model_copy(update={"measurement": MEASURED}),),
            "refused": (refused, unbuilt),
            "baselines": (Baseline(name="torch eager", timings=(TIMING.model_copy(update={"p50_ms": 10.5}),)),),
            "notes": ("1 of 3 labels [red] never occur",),
            "machine": Machine(cpu="A CPU", cores=2, flags=("avx2",), onnxruntime="1.32.0"),
            "provenance": Provenance(
                created="2026-01-01T00:00:00+00:00",
                git_commit="c" * 40,
                git_dirty=True,
                spec="tiny.py:TinyImage",
                run_id="run-1",
                metrics={"test/accuracy": 0.9712},
                packages={"numpy": "2.0"},
            ),
        }
    )
    files: dict[str, bytes | Path] = {name: tiny_artifact.path / name for name in manifest.files}
    return write_artifact(tmp_path / "full", full, files)


def shown(artifact: Artifact, width: int = 120) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(describe(artifact))
    return stream.getvalue()


def row(text: str, start: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.strip().startswith(start))


def test_identity_tensors_and_provenance_are_shown(artifact: Artifact) -> None:
    text = shown(artifact)
    for part in (
        "tiny-image 1",
        artifact.digest,
        "A CPU (avx2), 2 cores, ONNX Runtime 1.32.0",
        "[batch, 16, 16, 3]",
        "red, green, blue",
        "run-1",
        "c" * 40 + " (with uncommitted changes)",
        "test/accuracy 0.9712",
        "numpy 2.0",
        "1 of 3 labels [red] never occur",
    ):
        assert part in text


def test_each_variant_has_its_score_speed_size_and_verdict(artifact: Artifact) -> None:
    text = shown(artifact)
    size = f"{(artifact.path / 'variants' / 'fp32.onnx').stat().st_size / 2**20:.2f}"
    assert "accuracy on test" in text
    assert row(text, "fp32") == ["fp32", "0.9712", "99.5%", "1.250", "2.50", "8.75", size, "served"]
    assert row(text, "small")[:2] == ["small", "(int8-dynamic)"]
    assert row(text, "small")[-2:] == ["3.00", "refused"]
    assert row(text, "fp16") == ["fp16", "refused"]
    assert row(text, "torch eager") == ["torch", "eager", "10.500", "baseline"]


def test_refusals_are_shown_with_all_their_reasons(artifact: Artifact) -> None:
    text = shown(artifact)
    assert "slower than fp32; score [too] low" in text
    assert "cannot be converted" in text


def test_every_file_is_listed_with_its_size_and_digest(artifact: Artifact) -> None:
    text = shown(artifact)
    for name, digest in artifact.manifest.files.items():
        assert row(text, name) == [name, f"{(artifact.path / name).stat().st_size:,}", digest[:16]]


def test_a_variant_that_travels_though_refused_is_not_called_passed(artifact: Artifact) -> None:
    first = artifact.manifest.variants[0].model_copy(update={"passed": False, "reasons": ("below the budget",)})
    manifest = artifact.manifest.model_copy(update={"variants": (first,)})
    text = shown(Artifact(artifact.path, manifest, artifact.digest))
    assert row(text, "fp32")[-1] == "refused"
    assert "below the budget" in text


def test_an_artifact_that_was_never_measured_is_shown_too(tiny_artifact: Artifact) -> None:
    text = shown(tiny_artifact)
    assert row(text, "fp32")[-1] == "served"
    assert "Why refused" not in text
    assert "wrapped ONNX file" in text


def test_the_variants_fit_a_terminal_of_80_columns(artifact: Artifact) -> None:
    text = shown(artifact, width=80)
    assert "0.9712" in text
    assert "refused" in text
    assert max(len(line) for line in text.splitlines()) <= 80
