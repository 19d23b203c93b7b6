"""Real variants of a real model, measured and judged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from rich.console import Console

from lading.build.export.export import export_module
from lading.build.records import BuiltVariant, Verification, require_passed, write_variants
from lading.build.train.checkpoint import new_card, save_checkpoint
from lading.build.verify.report import write_artifact_report, write_report
from lading.build.verify.scores import confusion
from lading.build.verify.tables import verification_table
from lading.build.verify.timing import Plan
from lading.build.verify.torch_baseline import TorchBaselines
from lading.build.verify.verify import EFFORTS, open_all, verify
from lading.errors import GateRefusedError, LadingError, SpecError
from lading.predictor import Predictor
from lading.spec import Budget, Quantization, TensorSpec, Variant
from lading.tensors.agreement import agreement
from tests.given.tiny import TinyGraph, TinyImage, TinyTable, fit

BROKEN = Variant(name="broken", quantization=Quantization(method="static"), max_score_drop=0.01, required=True)
UNBUILT = Variant(name="unbuilt", quantization=Quantization(method="dynamic"))
TORN = Variant(name="torn", quantization=Quantization(method="fp16"))


@pytest.fixture(scope="module", autouse=True)
def _short_rounds() -> Iterator[None]:
    short = replace(EFFORTS["quick"], judged=Plan(3, 1.0), others=Plan(2, 1.0), batches=(1, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EFFORTS, "quick", short)
        yield


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good graph, one whose answers are wrong, one that could not be built, and one that is no graph."""
    folder = tmp_path_factory.mktemp("variants")
    spec = TinyImage()
    module = fit(spec)
    save_checkpoint(folder / "tiny.safetensors", module, new_card(spec, module))
    export_module(spec, module, folder / "fp32.onnx")
    write_broken(folder / "fp32.onnx", folder / "broken.onnx")
    (folder / "torn.onnx").write_bytes(b"no graph")
    write_variants(
        folder,
        [
            BuiltVariant(variant=spec.variants[0], file="fp32.onnx", precision="fp32"),
            BuiltVariant(variant=BROKEN, file="broken.onnx", precision="int8"),
            BuiltVariant(variant=UNBUILT, file=None, precision="int8-dynamic", problem="no kernel for <Foo>"),
            BuiltVariant(variant=TORN, file="torn.onnx", precision="fp16"),
        ],
    )
    return folder


def write_broken(source: Path, target: Path) -> None:
    """The same graph with noise for its first weights: it sees something else in every picture."""
    model = onnx.load(source)
    weights = next(one for one in model.graph.initializer if len(one.dims) == 4)
    noise = np.random.default_rng(0).normal(size=list(weights.dims))
    weights.CopyFrom(onnx.numpy_helper.from_array(noise.astype(np.float32), weights.name))
    onnx.save(model, target)


@pytest.fixture(scope="module")
def verification(variants: Path) -> Verification:
    return verify(
        TinyImage(), variants, variants / "verified", torch=TorchBaselines(TinyImage(), variants / "tiny.safetensors")
    )


def test_each_variant_is_measured_and_judged(verification: Verification) -> None:
    entries = {entry.variant.name: entry for entry in verification.variants}
    assert entries["fp32"].passed
    assert entries["broken"].reasons[0].startswith("score ")
    assert entries["unbuilt"].reasons == ("no kernel for <Foo>",)
    assert "torn.onnx cannot be opened" in entries["torn"].reasons[0]
    assert verification.chosen == "fp32"
    found = entries["fp32"].measurement
    assert found is not None
    assert found.scores["test"] >= 0.9
    assert (found.agreement, found.max_difference) == (1.0, 0.0)
    assert {(t.batch, t.threads) for t in found.timings} >= {(1, 1), (2, 1)}
    assert found.cost.keys() >= {1, 2}
    assert found.speedup_torch is not None
    assert found.peak_memory_bytes > 0


def test_torch_is_measured_beside_and_what_was_not_is_explained(verification: Verification) -> None:
    assert [baseline.name for baseline in verification.baselines] == ["torch eager"]
    assert "--effort full" in verification.absent["torch.compile"]


def test_without_a_checkpoint_there_is_no_baseline_and_it_says_so(variants: Path, tmp_path: Path) -> None:
    verification = verify(TinyImage(), variants, tmp_path)
    assert verification.baselines == ()
    assert verification.absent["torch eager"] == "there is no checkpoint to run"


@pytest.mark.slow
def test_the_full_effort_measures_torch_compile_too(
    variants: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(EFFORTS["full"], judged=Plan(2, 1.0), others=Plan(2, 1.0), batches=(1,), compile_batches=(1,))
    monkeypatch.setitem(EFFORTS, "full", short)
    verification = verify(
        TinyImage(), variants, tmp_path, effort="full", torch=TorchBaselines(TinyImage(), variants / "tiny.safetensors")
    )
    measured = {baseline.name for baseline in verification.baselines} | verification.absent.keys()
    assert measured == {"torch eager", "torch.compile"}


def test_the_record_is_written_and_read_back(verification: Verification, variants: Path, tmp_path: Path) -> None:
    assert Verification.load(variants / "verified") == verification
    assert Verification.load(variants / "verified" / "verification.json") == verification
    (tmp_path / "verification.json").write_text("{}")
    with pytest.raises(LadingError, match="cannot be read"):
        Verification.load(tmp_path)
    with pytest.raises(LadingError, match="run `lading verify` first"):
        Verification.load(tmp_path / "none.json")


def test_a_required_variant_that_was_refused_stops_the_build_with_exit_code_3(verification: Verification) -> None:
    with pytest.raises(GateRefusedError, match=r"broken: score .* below fp32") as caught:
        require_passed(verification)
    assert caught.value.exit_code == 3


def test_when_all_required_variants_passed_nothing_stops(verification: Verification) -> None:
    kept = tuple(entry for entry in verification.variants if entry.variant.name != "broken")
    require_passed(verification.model_copy(update={"variants": kept}))


def test_confusion_counts_every_example_of_the_split(verification: Verification) -> None:
    confusions = {(one.variant, one.output): one for one in verification.confusions}
    assert np.sum(confusions["fp32", "colour"].counts) == verification.splits["test"]
    assert np.trace(np.array(confusions["fp32", "colour"].counts)) > np.trace(
        np.array(confusions["broken", "colour"].counts)
    )


def test_without_a_plain_fp32_variant_there_is_nothing_to_compare_with(variants: Path, tmp_path: Path) -> None:
    folder = tmp_path / "variants"
    shutil.copytree(variants, folder)
    write_variants(folder, [BuiltVariant(variant=BROKEN, file="broken.onnx", precision="int8")])
    with pytest.raises(SpecError, match="the fp32 variant cannot be run: it is missing"):
        verify(TinyImage(), folder, tmp_path)


@pytest.mark.parametrize("spec", [TinyTable(), TinyGraph()], ids=["table", "graph"])
def test_tables_and_graphs_are_verified_as_pictures_are(spec: TinyTable | TinyGraph, tmp_path: Path) -> None:
    export_module(spec, fit(spec), tmp_path / "fp32.onnx")
    write_variants(tmp_path, [BuiltVariant(variant=spec.variants[0], file="fp32.onnx", precision="fp32")])
    verification = verify(spec, tmp_path, tmp_path / "out")
    assert verification.chosen == "fp32"
    assert bool(verification.confusions) == isinstance(spec, TinyGraph)


def test_a_least_score_that_fp32_does_not_reach_refuses_it(variants: Path, tmp_path: Path) -> None:
    class Demanding(TinyImage):
        budget = Budget(min_score=1.01)

    verification = verify(Demanding(), variants, tmp_path)
    assert verification.chosen is None


def test_an_unlabelled_output_agrees_where_it_is_within_a_hundredth_of_its_range() -> None:
    spec = TensorSpec(name="value", dtype="float32", shape=("batch", 1))
    fp32 = {"value": np.array([[0.0], [50.0], [100.0]], np.float32)}
    near = {"value": np.array([[0.9], [50.0], [102.0]], np.float32)}
    assert agreement([spec], fp32, near) == pytest.approx(2 / 3)
    assert confusion(spec, fp32, {}) is None


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_shows_every_variant_and_why_one_was_refused(verification: Verification, width: int) -> None:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(verification_table(verification))
    text = console.export_text()
    console.file.close()
    for name in ("fp32", "broken", "unbuilt", "torch eager"):
        assert name in text
    assert "chosen" in text
    assert "no kernel for <Foo>" in " ".join(text.split())


def test_the_report_needs_no_network_and_escapes_what_it_shows(verification: Verification, tmp_path: Path) -> None:
    write_report(verification, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "no kernel for &lt;Foo&gt;" in page
    assert "Confusion of fp32: colour" in page
    for outside in ('src="', "@import", "url(http", "<script", '<link rel="stylesheet'):
        assert outside not in page
    assert 'href="http' not in page.replace('xlink:href="http', "")


def test_an_artifact_without_measurements_still_has_a_report(tiny_artifact: object, tmp_path: Path) -> None:
    from lading.artifact import Artifact

    assert isinstance(tiny_artifact, Artifact)
    write_artifact_report(tiny_artifact, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert tiny_artifact.digest in page
    assert "<svg" not in page


def test_variants_are_scored_with_the_options_of_the_session_that_serves(variants: Path, tiny_artifact: object) -> None:
    from lading.artifact import Artifact

    assert isinstance(tiny_artifact, Artifact)
    scored = open_all({"fp32": variants / "fp32.onnx"}, {})["fp32"]
    served = Predictor(tiny_artifact).session
    assert scored.get_providers() == served.get_providers()
    assert options_of(scored) == options_of(served)


def options_of(session: ort.InferenceSession) -> dict[str, object]:
    """Every plain option of a session, by name."""
    options = session.get_session_options()
    values = {name: getattr(options, name) for name in dir(options) if not name.startswith("_")}
    spinning = [f"session.{pool}.allow_spinning" for pool in ("intra_op", "inter_op")]
    entries = {name: options.get_session_config_entry(name) for name in spinning}
    return {name: value for name, value in values.items() if not callable(value)} | entries
