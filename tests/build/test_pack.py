"""What passed travels; what was refused is on record."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from lading.artifact import Artifact
from lading.build.examples import spread
from lading.build.export.export import export
from lading.build.pack import GOLDEN_EXAMPLES, golden_atol, pack
from lading.build.quantize.quantize import quantize
from lading.build.records import Verification
from lading.build.train.checkpoint import RunCard, save_checkpoint
from lading.build.verify.verify import verify
from lading.drift.reference import Reference
from lading.errors import ArtifactError, DataError, GateRefusedError, LadingError
from lading.predictor import Predictor
from lading.spec import Array, Dataset, Example, ModelSpec, Quantization, Variant
from tests.given.quick_verify import quick_verify
from tests.given.tiny import TinyGraph, TinyImage, fit

INT8 = Variant(name="int8", quantization=Quantization(method="static", calibration_examples=32), max_score_drop=0.05)
IMPOSSIBLE = Variant(name="odd", quantization=Quantization(method="static", exclude=("nowhere",)))


class Packed(TinyImage):
    variants = (TinyImage.variants[0], INT8, IMPOSSIBLE)


def checkpoint(spec: ModelSpec, path: Path) -> Path:
    module = fit(spec)
    card = RunCard(
        spec=spec.name,
        config={"seed": 7},
        metrics={"test/accuracy": 0.98},
        run_id="run-1",
        git_commit="c" * 40,
        git_dirty=True,
        data_fingerprint="sha256:data",
        packages={"torch": "2.15.0", "numpy": "1.0"},
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        created="2026-01-01T00:00:00+00:00",
    )
    return save_checkpoint(path, module, card)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every stage before pack, on the picture model."""
    folder = tmp_path_factory.mktemp("work")
    weights = checkpoint(Packed(), folder / "tiny-image.safetensors")
    export(Packed(), folder / "export", checkpoints={0.0: weights})
    quantize(Packed(), folder / "export", folder / "variants")
    with quick_verify():
        verify(Packed(), folder / "variants", folder / "verify")
    return folder


def packed(work: Path, out: Path, verification: Verification | Path | None = None) -> Artifact:
    given = verification or work / "verify"
    return pack(
        Packed(), work / "variants", given, out, checkpoint=work / "tiny-image.safetensors", target="tiny.py:TinyImage"
    )


def judged(work: Path, name: str, *, passed: bool, reason: str = "too slow") -> Verification:
    """The same measurements with another judgement of one variant."""
    found = Verification.load(work / "verify")
    entries = [
        entry.model_copy(update={"passed": passed, "reasons": () if passed else (reason,)})
        if entry.variant.name == name
        else entry
        for entry in found.variants
    ]
    return found.model_copy(update={"variants": tuple(entries)})


def test_an_artifact_answers_its_golden_inputs(work: Path, tmp_path: Path) -> None:
    artifact = packed(work, tmp_path / "tiny")
    assert artifact == Artifact.load(tmp_path / "tiny")
    assert {name: len(array) for name, array in artifact.golden_inputs().items()} == {"image": GOLDEN_EXAMPLES}
    for variant in artifact.manifest.variants:
        Predictor(artifact, variant.variant.name).check_golden()
    first = spread(Packed().dataset("test"), GOLDEN_EXAMPLES)[0][0]["image"]
    np.testing.assert_array_equal(artifact.golden_inputs()["image"][0], first)


def test_the_manifest_says_what_was_measured_and_where_the_weights_came_from(work: Path, tmp_path: Path) -> None:
    manifest = packed(work, tmp_path / "tiny").manifest
    assert (manifest.name, manifest.score_name, manifest.chosen) == ("tiny-image", "accuracy", _chosen(work))
    assert manifest.inputs == Packed.inputs
    assert manifest.machine is not None
    assert manifest.machine.onnxruntime
    measured = manifest.variants[0].measurement
    assert measured is not None
    assert measured.scores["test"] > 0.9
    source = manifest.provenance
    assert (source.run_id, source.git_commit, source.git_dirty) == ("run-1", "c" * 40, True)
    assert (source.spec, source.data_fingerprint, source.config) == ("tiny.py:TinyImage", "sha256:data", {"seed": 7})
    assert source.metrics == {"test/accuracy": 0.98}
    assert source.packages["torch"] == "2.15.0"
    assert source.packages["numpy"] == np.__version__, "what packed, not what trained"


def _chosen(work: Path) -> str:
    chosen = Verification.load(work / "verify").chosen
    assert chosen is not None
    return chosen


def test_the_reference_describes_validation_data_and_the_answers(work: Path, tmp_path: Path) -> None:
    reference = Reference.from_json(packed(work, tmp_path / "tiny").reference_json())
    assert reference.examples == 32
    assert {"image.brightness", "colour.label", "shade.confidence"} <= reference.features.keys()


def test_a_reference_of_ones_own_says_which_examples_belong_together(work: Path, tmp_path: Path) -> None:
    class Numbered(list[Example]):
        def group(self, index: int) -> int:
            return index // 8

    class Own(Packed):
        def reference(self) -> Dataset:
            return Numbered(spread(self.dataset("train"), 64))

    artifact = pack(Own(), work / "variants", work / "verify", tmp_path / "own")
    reference = Reference.from_json(artifact.reference_json())
    assert (reference.examples, reference.groups) == (64, 8)


def test_a_variant_that_could_not_be_built_is_on_record_without_a_file(work: Path, tmp_path: Path) -> None:
    artifact = packed(work, tmp_path / "tiny")
    refused = {entry.variant.name: entry for entry in artifact.manifest.refused}
    assert "matches no node" in refused["odd"].reasons[0]
    assert refused["odd"].measurement is None
    assert not [name for name in artifact.manifest.files if "odd" in name]


def test_a_refused_variant_keeps_its_measurement_and_reasons_but_not_its_graph(work: Path, tmp_path: Path) -> None:
    artifact = packed(work, tmp_path / "tiny", judged(work, "int8", passed=False).model_copy(update={"chosen": "fp32"}))
    refused = {entry.variant.name: entry for entry in artifact.manifest.refused}["int8"]
    assert refused.reasons == ("too slow",)
    assert refused.measurement is not None
    assert "variants/int8.onnx" not in artifact.manifest.files
    with pytest.raises(ArtifactError, match="has no variant 'int8'"):
        artifact.onnx_file("int8")


def test_a_variant_that_passed_travels(work: Path, tmp_path: Path) -> None:
    artifact = packed(work, tmp_path / "tiny", judged(work, "int8", passed=True).model_copy(update={"chosen": "int8"}))
    assert artifact.variant().variant.name == "int8"
    assert artifact.variant().precision == "int8"
    assert artifact.variant("int8").golden_atol > artifact.variant("fp32").golden_atol
    assert artifact.onnx_file().read_bytes() == (work / "variants" / "int8.onnx").read_bytes()


def test_fp32_travels_even_when_refused_since_all_else_is_compared_with_it(work: Path, tmp_path: Path) -> None:
    judgement = judged(work, "fp32", passed=False, reason="score below the budget")
    both = judgement.model_copy(
        update={
            "variants": tuple(
                e.model_copy(update={"passed": True, "reasons": ()}) if e.variant.name == "int8" else e
                for e in judgement.variants
            ),
            "chosen": "int8",
        }
    )
    artifact = packed(work, tmp_path / "tiny", both)
    assert artifact.variant("fp32").reasons == ("score below the budget",)
    assert not artifact.variant("fp32").passed


def test_without_a_checkpoint_the_provenance_names_packages_alone(work: Path, tmp_path: Path) -> None:
    artifact = pack(Packed(), work / "variants", work / "verify" / "verification.json", tmp_path / "tiny")
    assert artifact.manifest.provenance.run_id is None
    assert set(artifact.manifest.provenance.packages) == {"lading", "numpy", "onnx", "onnxruntime"}


def test_packing_twice_differs_in_the_time_alone(work: Path, tmp_path: Path) -> None:
    first, second = packed(work, tmp_path / "a"), packed(work, tmp_path / "b")
    assert first.manifest.files == second.manifest.files


def test_no_file_of_the_artifact_holds_a_path_of_this_machine(work: Path, tmp_path: Path) -> None:
    packed(work, tmp_path / "tiny")
    content = b"".join(file.read_bytes() for file in (tmp_path / "tiny").rglob("*") if file.is_file())
    assert str(tmp_path).encode() not in content
    assert str(work).encode() not in content
    assert str(Path.home()).encode() + b"/" not in content


def test_nothing_is_packed_when_nothing_passed(work: Path, tmp_path: Path) -> None:
    found = Verification.load(work / "verify").model_copy(update={"chosen": None})
    with pytest.raises(GateRefusedError, match="no variant of tiny-image passed"):
        packed(work, tmp_path / "tiny", found)
    assert not (tmp_path / "tiny").exists()


def test_a_graph_that_vanished_after_it_was_measured_is_named(work: Path, tmp_path: Path) -> None:
    variants = tmp_path / "variants"
    shutil.copytree(work / "variants", variants)
    (variants / "fp32.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"fp32\.onnx is missing, though it was measured"):
        pack(Packed(), variants, work / "verify", tmp_path / "tiny")


def test_a_missing_verification_says_what_to_run(work: Path, tmp_path: Path) -> None:
    with pytest.raises(LadingError, match="run `lading verify` first"):
        pack(Packed(), work / "variants", tmp_path / "nowhere", tmp_path / "tiny")


class Misfit(Packed):
    """Its data are not what its inputs say."""

    def dataset(self, split: str) -> list[Example]:
        return [({"image": inputs["image"].astype(np.float32)}, t) for inputs, t in super().dataset(split)]


class Empty(Packed):
    def dataset(self, split: str) -> list[Example]:
        return super().dataset(split)[:0]


def test_data_that_do_not_fit_the_spec_are_refused_before_anything_is_written(work: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"example 0 of the split 'test' of tiny-image .* dtype float32"):
        pack(Misfit(), work / "variants", work / "verify", tmp_path / "tiny")
    with pytest.raises(DataError, match="the split 'test' of tiny-image is empty"):
        pack(Empty(), work / "variants", work / "verify", tmp_path / "tiny")
    assert list(tmp_path.iterdir()) == []


def test_ragged_models_are_packed_too(tmp_path: Path) -> None:
    spec = TinyGraph()
    weights = checkpoint(spec, tmp_path / "tiny-graph.safetensors")
    export(spec, tmp_path / "export", checkpoints={0.0: weights})
    variants = quantize(spec, tmp_path / "export", tmp_path / "variants")
    with quick_verify():
        verification = verify(spec, variants, tmp_path / "verify")
    artifact = pack(spec, variants, verification, tmp_path / "packed")
    golden = artifact.golden_inputs()
    assert golden["owner"].max() == GOLDEN_EXAMPLES - 1
    assert Reference.from_json(artifact.reference_json()).examples == 48


@pytest.mark.parametrize(
    ("method", "precision", "largest", "expected"),
    [
        (None, "fp32", 0.9, 1e-4),
        (None, "fp32", 50.0, 5e-3),
        (None, "unknown", 1.0, 0.1),
        ("static", "int8", 1.0, 0.1),
        ("fp16", "fp16", 10.0, 0.2),
    ],
)
def test_the_golden_tolerance_follows_the_size_of_the_answers(
    method: str | None, precision: str, largest: float, expected: float
) -> None:
    quantization = Quantization(method=method) if method else None
    golden: dict[str, Array] = {"y": np.array([[0.1, -largest]], np.float32), "count": np.array([999])}
    assert golden_atol(quantization, precision, golden) == pytest.approx(expected)
