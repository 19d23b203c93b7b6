"""A quantization method is one recipe: the stages learn everything about it from there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.onnx_model import ONNXModel
from rich.console import Console

from lading.build.build import build
from lading.build.examples import spread
from lading.build.pack import pack
from lading.build.quantize.quantize import quantize
from lading.build.quantize.recipes import RECIPES, Recipe
from lading.build.quantize.source import Source
from lading.build.records import read_variants
from lading.build.verify.gates import Candidate, judge
from lading.build.verify.verify import verify
from lading.errors import QuantizationError
from lading.predictor import Predictor
from lading.spec import Budget, Example, Quantization, Variant
from lading.tensors.ragged import collate
from tests.given.exported import lay_out
from tests.given.measured import MEASURED
from tests.given.quick_verify import quick_verify
from tests.given.tiny import TinyImage

FP32 = TinyImage.variants[0]


class Tiny(TinyImage):
    def __init__(self, *variants: Variant) -> None:
        self.variants = variants


def eight_bit_weights(
    source: Source, _variant: Variant, quantization: Quantization
) -> tuple[onnx.ModelProto, dict[str, object]]:
    """A method that Lading does not ship: weights in 8 bits, activations in float32."""
    graph = onnx.ModelProto()
    graph.CopyFrom(source.prepared)
    matmuls = ONNXModel(graph)
    matmuls.replace_gemm_with_matmul()
    quantizer = MatMulNBitsQuantizer(matmuls.model, bits=8, block_size=16)
    quantizer.process()
    return quantizer.model.model, {"examples": quantization.calibration_examples}


def test_a_method_registered_in_one_place_goes_through_every_stage(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Recipe("int8-weights", eight_bit_weights, golden_tolerance=0.05)
    monkeypatch.setitem(RECIPES, "weights", own)
    variant = Variant(name="own", quantization=Quantization(method="weights"), max_score_drop=0.05)
    spec = Tiny(FP32, variant)

    built = quantize(spec, lay_out(tiny_onnx, tmp_path / "export"), tmp_path / "variants")
    entry = read_variants(built)[1]
    assert (entry.precision, entry.details) == ("int8-weights", {"examples": 128})
    operators = [node.op_type for node in onnx.load(built / "own.onnx").graph.node]
    assert operators.count("MatMulNBits") == 2

    with quick_verify():
        verification = verify(spec, built, tmp_path / "verify")
    measured = verification.variants[1].measurement
    assert measured is not None
    assert measured.agreement > 0.95

    # Whether so small a model becomes faster is left to chance, so its speed is not judged here.
    passed = tuple(found.model_copy(update={"passed": True, "reasons": ()}) for found in verification.variants)
    verification = verification.model_copy(update={"variants": passed, "chosen": "own"})
    artifact = pack(spec, built, verification, tmp_path / "packed")
    packed = artifact.variant()
    assert packed.precision == "int8-weights"
    largest = max(float(abs(array).max()) for array in artifact.golden_outputs("own").values())
    assert packed.golden_atol == pytest.approx(0.05 * largest)

    predictor = Predictor(artifact)
    predictor.check_golden()
    examples = spread(spec.dataset("test"), 8)
    answers = predictor.run(collate(spec.inputs, [given for given, _ in examples]))
    assert [array.shape for array in answers.values()] == [(8, 3), (8, 2)]
    assert spec.score(answers, {n: np.array([t[n] for _, t in examples]) for n in ("colour", "shade")}) > 0.9


def test_an_unknown_method_is_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = Tiny(FP32, Variant(name="odd", quantization=Quantization(method="statik")))
    message = "there is no quantization method 'statik'; use one of: dynamic, fp16, int4, static"
    with pytest.raises(QuantizationError, match=message):
        build(spec, "tiny.py:Tiny", out=tmp_path / "out", work=tmp_path / "work", console=Console())
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_a_method_that_needs_calibration_says_so_when_there_are_no_examples(tiny_onnx: Path, tmp_path: Path) -> None:
    class Untrained(Tiny):
        def dataset(self, split: str) -> list[Example]:
            return [] if split == "train" else super().dataset(split)

    static, int4 = (Variant(name=name, quantization=Quantization(method=name)) for name in ("static", "int4"))
    out = quantize(Untrained(static, int4), lay_out(tiny_onnx, tmp_path / "export"), tmp_path / "variants")
    refused, made = read_variants(out)
    assert "the split 'train' of tiny-image is empty" in str(refused.problem)
    assert made.problem is None


def test_a_graph_for_gpus_is_never_chosen_whatever_its_variant_says() -> None:
    variant = Variant(name="half", quantization=Quantization(method="fp16"))
    assert variant.device == "cpu"
    reasons = judge(Candidate(variant, MEASURED), MEASURED, Budget(), "test")
    assert reasons == ("it is built for GPUs, and is never chosen on a CPU",)


def test_int4_holds_the_weights_of_matrix_products_in_half_bytes(tiny_onnx: Path, tmp_path: Path) -> None:
    excluded = Quantization(method="int4", exclude=("shade",))
    spec = Tiny(
        Variant(name="int4", quantization=Quantization(method="int4")),
        Variant(name="but-one", quantization=excluded),
    )
    out = quantize(spec, lay_out(tiny_onnx, tmp_path / "export"), tmp_path / "variants")
    layers = []
    for name in ("int4", "but-one"):
        nodes = [node for node in onnx.load(out / f"{name}.onnx").graph.node if node.op_type == "MatMulNBits"]
        assert {attribute.i for node in nodes for attribute in node.attribute if attribute.name == "bits"} == {4}
        layers.append(len(nodes))
    assert layers == [2, 1]
    assert [entry.details["layers"] for entry in read_variants(out)] == [2, 1]
