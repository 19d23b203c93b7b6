"""Every variant becomes a graph, or a sentence that says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from lading.artifact.manifest import ScoreDrop
from lading.build.examples import answer, batches, open_graph, spread, targets
from lading.build.export.export import export_module
from lading.build.export.lowest_versions import with_lowest_versions
from lading.build.quantize.calibration import float_activations, observe
from lading.build.quantize.quantize import quantize
from lading.build.quantize.source import Compared
from lading.build.quantize.static_int8 import excluded_nodes, prepare, quantizable_layers, quantize_static
from lading.build.records import BuiltVariant, read_variants, write_variants
from lading.build.verify.drop import enough_examples, expected_margin, least_margin
from lading.errors import QuantizationError
from lading.predictor import open_session
from lading.spec import Array, Example, ModelSpec, Quantization, TensorSpec, Variant
from lading.tensors.agreement import relative_error
from tests.given.exported import lay_out
from tests.given.tiny import TinyImage, TinyTable, fit

STATIC = Quantization(method="static", calibration_examples=32, form="thick")
ALL = (
    Variant(name="fp32", max_score_drop=0.0, required=True),
    Variant(name="int8", quantization=STATIC),
    Variant(name="int8-entropy", quantization=STATIC.model_copy(update={"calibration": "entropy"})),
    Variant(name="int8-percentile", quantization=STATIC.model_copy(update={"calibration": "percentile"})),
    Variant(name="int8-dynamic", quantization=Quantization(method="dynamic")),
    Variant(name="int4", quantization=Quantization(method="int4")),
    Variant(name="fp16", quantization=Quantization(method="fp16"), device="gpu"),
)


class Tiny(TinyImage):
    """The picture model with the variants given."""

    def __init__(self, *variants: Variant) -> None:
        self.variants = variants


@pytest.fixture(scope="module")
def built(tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantized")
    return quantize(Tiny(*ALL), lay_out(tiny_onnx, folder / "export"), folder / "variants")


def op_types(file: Path) -> list[str]:
    return [node.op_type for node in onnx.load(file).graph.node]


def test_every_variant_has_an_entry_in_order_and_a_file(built: Path) -> None:
    entries = read_variants(built)
    assert [entry.variant for entry in entries] == list(ALL)
    precisions = ["fp32", "int8", "int8", "int8", "int8-dynamic", "int4", "fp16"]
    assert [entry.precision for entry in entries] == precisions
    assert [(entry.problem, entry.file) for entry in entries] == [(None, f"{v.name}.onnx") for v in ALL]
    assert sorted(path.name for path in built.iterdir()) == sorted([*(f"{v.name}.onnx" for v in ALL), "variants.json"])


def test_the_float32_graph_is_its_export_with_the_lowest_versions(built: Path, tiny_onnx: Path) -> None:
    assert (built / "fp32.onnx").read_bytes() == with_lowest_versions(tiny_onnx.read_bytes())


@pytest.mark.parametrize("variant", [v.name for v in ALL])
def test_each_variant_is_about_as_good_as_float32(built: Path, variant: str) -> None:
    spec = TinyImage()
    examples = spread(spec.dataset("test"), 48)
    outputs = answer(open_session(built / f"{variant}.onnx"), spec, examples)
    assert spec.score(outputs, targets(examples)) >= 0.95
    assert {name: array.dtype for name, array in outputs.items()} == {"colour": np.float32, "shade": np.float32}


@pytest.mark.parametrize("variant", ["int8", "int8-entropy", "int8-percentile"])
def test_static_int8_quantizes_the_thick_convolution_and_leaves_the_first(built: Path, variant: str) -> None:
    model = onnx.load(built / f"{variant}.onnx")
    made_by = {output: node for node in model.graph.node for output in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    weights = [made_by[node.input[1]].op_type if node.input[1] in made_by else "" for node in convolutions]
    assert weights == ["", "DequantizeLinear"]
    scales = [len(w.float_data) or len(w.raw_data) // 4 for w in model.graph.initializer if w.name.endswith("_scale")]
    assert 16 in scales, "per channel"


def test_static_int8_says_how_it_was_calibrated_and_scored(built: Path) -> None:
    details = read_variants(built)[1].details
    assert (details["form"], details["layers"]) == ("thick", 3)
    assert (details["calibration"], details["calibration_examples"]) == ("minmax", 32)
    assert details["score_examples"] == 32
    assert details["score_all_layers"] >= details["fp32_score"] - 0.01
    assert "sensitivity" not in details


def test_dynamic_int8_quantizes_the_matrix_products_alone(built: Path) -> None:
    found = op_types(built / "int8-dynamic.onnx")
    assert found.count("MatMulInteger") == 2
    assert found.count("Conv") == 2
    assert "ConvInteger" not in found


def test_fp16_holds_half_the_bytes_and_keeps_its_inputs_and_outputs(built: Path) -> None:
    weights = {w.data_type for w in onnx.load(built / "fp16.onnx").graph.initializer if len(w.dims) > 1}
    assert weights == {onnx.TensorProto.FLOAT16}
    assert open_session(built / "fp16.onnx").get_inputs()[0].type == "tensor(uint8)"


def test_quantizing_twice_gives_the_same_bytes(built: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    again = quantize(Tiny(*ALL), lay_out(tiny_onnx, tmp_path / "export"), tmp_path / "variants")
    for variant in ALL:
        assert (again / f"{variant.name}.onnx").read_bytes() == (built / f"{variant.name}.onnx").read_bytes()


def test_no_graph_holds_a_path_of_this_machine(built: Path) -> None:
    assert not [file.name for file in built.glob("*.onnx") if b"/tmp" in file.read_bytes()]


def test_nothing_is_printed_but_progress(tiny_onnx: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    quantize(Tiny(*ALL[:3]), lay_out(tiny_onnx, tmp_path / "export"), tmp_path / "variants")
    captured = capfd.readouterr()
    assert captured.out.strip() == ""
    assert captured.err.strip() == ""


class Picky(Tiny):
    """Its score is far below where it was as soon as an output moves."""

    def score(self, outputs: dict[str, Array], targets: dict[str, Array]) -> float:  # type: ignore[override]
        exact = [float(np.take_along_axis(outputs[n], targets[n][:, None], 1).mean()) for n in outputs]
        return 1000 * float(np.mean(exact))


def searched(spec: ModelSpec, graph: Path, folder: Path) -> BuiltVariant:
    return read_variants(quantize(spec, lay_out(graph, folder / "export"), folder / "variants"))[0]


def test_a_loss_beyond_the_allowed_one_starts_the_search(tiny_onnx: Path, tmp_path: Path) -> None:
    all_layers = searched(Picky(Variant(name="int8", quantization=STATIC, max_score_drop=1e6)), tiny_onnx, tmp_path)
    full_drop = abs(all_layers.details["fp32_score"] - all_layers.details["score_all_layers"])
    assert full_drop > 0
    entry = searched(
        Picky(Variant(name="int8", quantization=STATIC, max_score_drop=full_drop / 1000)), tiny_onnx, tmp_path
    )
    table = entry.details["sensitivity"]
    assert {row["node"] for row in table} == set(quantizable_layers(prepare(tiny_onnx), {}))
    assert [row["error"] for row in table] == sorted((row["error"] for row in table), reverse=True)
    assert entry.details["excluded"] == [row["node"] for row in table[: len(entry.details["excluded"])]]
    assert entry.problem is None


def test_the_search_can_be_turned_off(tiny_onnx: Path, tmp_path: Path) -> None:
    recipe = STATIC.model_copy(update={"sensitivity_search": False})
    details = searched(Tiny(Variant(name="int8", quantization=recipe)), tiny_onnx, tmp_path).details
    assert set(details) == {"form", "forms", "layers", "equalized", "calibration", "calibration_examples"}


def test_excluded_nodes_stay_in_float32(tiny_onnx: Path, tmp_path: Path) -> None:
    recipe = STATIC.model_copy(update={"exclude": ("Gemm$",)})
    entry = searched(Tiny(Variant(name="int8", quantization=recipe)), tiny_onnx, tmp_path)
    assert entry.details["layers"] == 1


def test_forms_that_differ_are_timed_once_for_all_variants_and_the_fastest_that_passes_is_kept(
    tiny_onnx: Path, tmp_path: Path
) -> None:
    recipe = STATIC.model_copy(update={"form": "measured"})
    entropy = recipe.model_copy(update={"calibration": "entropy"})
    spec = Tiny(
        Variant(name="int8", quantization=recipe, max_score_drop=0.5),
        Variant(name="int8-entropy", quantization=entropy, max_score_drop=0.5),
    )
    out = quantize(spec, lay_out(tiny_onnx, tmp_path / "export"), tmp_path / "variants")
    first, second = (entry.details for entry in read_variants(out))
    names = [row["form"] for row in first["forms"]]
    assert {"thick", "all"} <= set(names)
    assert first["form"] == names[0], "no form loses half of the score"
    assert first["forms"] == second["forms"]


def test_a_network_with_one_form_is_not_timed(tmp_path: Path) -> None:
    """Matrix products alone: no convolution is thin, and there is nothing between them that one form leaves out."""
    spec = TinyTable()
    file = tmp_path / "table.onnx"
    export_module(spec, fit(spec), file)
    details = searched(
        TinyTableOf(Variant(name="int8", quantization=Quantization(method="static"))), file, tmp_path
    ).details
    assert details["forms"] == [{"form": "thick", "speed": 1.0}]


class TinyTableOf(TinyTable):
    def __init__(self, *variants: Variant) -> None:
        self.variants = variants


def test_a_search_ends_when_its_time_is_over_with_what_it_has(tiny_onnx: Path, tmp_path: Path) -> None:
    recipe = STATIC.model_copy(update={"search_seconds": 0.0})
    entry = searched(Picky(Variant(name="int8", quantization=recipe, max_score_drop=0.0)), tiny_onnx, tmp_path)
    assert entry.file == "int8.onnx"
    assert entry.details["search_ended_early"]
    assert len(entry.details["sensitivity"]) == 1, "one layer is ranked in any case"


def test_the_search_aims_at_the_interval_that_the_gate_will_see() -> None:
    drop = ScoreDrop(value=0.004, low=-0.01, high=0.02, examples=256, loss_deviation=0.1, largest_loss=1.0)
    allowed = 0.01

    def compared(examples: int) -> Compared:
        return Compared(
            0.9, drop.value, drop.value + expected_margin(drop, examples), least=least_margin(drop, examples)
        )

    enough = enough_examples(drop, allowed)
    assert enough is not None
    assert not compared(enough - 200).within(allowed)
    assert compared(enough).within(allowed)
    assert compared(50).within(allowed), "no graph could pass with so few, so the drop itself is aimed at"


PROBLEMS = {
    "nowhere": (
        STATIC.model_copy(update={"exclude": ("nowhere",)}),
        "exclude='nowhere' matches no node; nodes are named",
    ),
    "bad": (STATIC.model_copy(update={"exclude": ("(",)}), "is not a regular expression"),
    "everything": (STATIC.model_copy(update={"exclude": (".",)}), "there is nothing to quantize"),
    "dynamic": (
        Quantization(method="dynamic", exclude=("Gemm",)),
        "no matrix product with constant weights (MatMul, Ge",
    ),
    "int4": (Quantization(method="int4", exclude=("Gemm",)), "no matrix product with constant weights (MatMul, Gemm)"),
}


@pytest.mark.parametrize(("recipe", "problem"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_a_recipe_that_cannot_apply_says_why_and_the_others_are_built(
    recipe: Quantization, problem: str, tiny_onnx: Path, tmp_path: Path
) -> None:
    spec = Tiny(Variant(name="odd", quantization=recipe), Variant(name="int8", quantization=STATIC))
    out = quantize(spec, lay_out(tiny_onnx, tmp_path / "export"), tmp_path / "variants")
    odd, good = read_variants(out)
    assert odd.file is None
    assert problem in str(odd.problem)
    assert not (out / "odd.onnx").exists()
    assert (out / str(good.file)).is_file()


def test_a_graph_of_an_earlier_build_does_not_outlive_its_recipe(tiny_onnx: Path, tmp_path: Path) -> None:
    exported = lay_out(tiny_onnx, tmp_path / "export")
    quantize(Tiny(Variant(name="int8", quantization=STATIC)), exported, tmp_path / "variants")
    broken = STATIC.model_copy(update={"exclude": ("nowhere",)})
    quantize(Tiny(Variant(name="int8", quantization=broken)), exported, tmp_path / "variants")
    assert [path.name for path in (tmp_path / "variants").iterdir()] == ["variants.json"]


def test_a_missing_pruned_graph_is_named(tiny_onnx: Path, tmp_path: Path) -> None:
    exported = lay_out(tiny_onnx, tmp_path / "export")
    with pytest.raises(QuantizationError, match=r"no graph with pruning 0\.3: run `lading export` again"):
        quantize(Tiny(Variant(name="pruned30", pruning=0.3)), exported, tmp_path / "variants")


def test_a_pruned_graph_is_quantized_too(tiny_onnx: Path, tmp_path: Path) -> None:
    exported = lay_out(tiny_onnx, tmp_path / "export", pruning=0.3)
    spec = Tiny(Variant(name="pruned30-int8", pruning=0.3, quantization=STATIC))
    out = quantize(spec, exported, tmp_path / "variants")
    assert "DequantizeLinear" in op_types(out / "pruned30-int8.onnx")


def test_a_quantized_graph_is_not_quantized_again(built: Path) -> None:
    with pytest.raises(QuantizationError, match="quantized already"):
        prepare(built / "int8.onnx")


def test_a_graph_that_cannot_run_cannot_be_prepared(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 20]> g (float[n] x) => (float[n] y) { y = NoSuchOperator (x) }'
    )
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(QuantizationError, match="NoSuchOperator"):
        prepare(tmp_path / "odd.onnx")


def test_variants_without_their_list_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match="run `lading quantize` first"):
        read_variants(tmp_path)
    (tmp_path / "variants.json").write_text("[{}]")
    with pytest.raises(QuantizationError, match="cannot be read"):
        read_variants(tmp_path)
    entry = BuiltVariant(variant=ALL[0], file="fp32.onnx", precision="fp32")
    assert read_variants(write_variants(tmp_path, [entry])) == [entry]


def test_layers_are_named_in_graph_order_without_the_thin_ones(tiny_onnx: Path) -> None:
    model = prepare(tiny_onnx)
    layers = quantizable_layers(model, {})
    assert layers == [node.name for node in model.graph.node if node.name in layers]
    assert [name.rsplit("/")[-1] for name in layers] == ["Conv", "Gemm", "Gemm"]
    assert excluded_nodes(model, ("Conv",)) == {n.name for n in model.graph.node if n.op_type == "Conv"}


def test_quantizing_one_layer_leaves_the_others(tiny_onnx: Path) -> None:
    model = prepare(tiny_onnx)
    layers = quantizable_layers(model, {})
    spec = TinyImage()
    examples = spread(spec.dataset("valid"), 8)
    feeds = list(batches(spec.inputs, examples))
    ranges = {
        n: a.range("minmax")
        for n, a in observe(model, float_activations(model, ["Gemm"]), feeds, histograms=False).items()
    }
    alone = quantize_static(model, ranges, STATIC, layers=layers[-1:])
    assert sum(node.op_type == "QuantizeLinear" for node in alone.graph.node) == 2
    expected = answer(open_graph(model), spec, examples)
    assert 0 < relative_error(expected, answer(open_graph(alone), spec, examples)) < 0.1


def test_what_follows_the_last_layer_stays_in_float32(tmp_path: Path) -> None:
    """One scale for an output of hundreds and one of hundredths would leave nothing of the second."""
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Gemm", ["r", "w", "b"], ["z"], "last"),
        helper.make_node("Add", ["z", "offset"], ["y"], "units"),
    ]
    constants = [
        helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1, 2, 3, 4]),
        helper.make_tensor("b", TensorProto.FLOAT, [2], [0, 1]),
        helper.make_tensor("offset", TensorProto.FLOAT, [2], [300, 0.01]),
    ]
    inputs, outputs = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in "xy")
    graph = helper.make_graph(nodes, "units", [inputs], [outputs], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    prepared = prepare(tmp_path / "m.onnx")
    ranges = dict.fromkeys(("x", "h", "r", "z", "y"), (-1.0, 1.0))
    recipe = Quantization(method="static")
    quantized = quantize_static(prepared, ranges, recipe, layers=quantizable_layers(prepared, {}))
    steps = {node.input[0] for node in quantized.graph.node if node.op_type == "QuantizeLinear"}
    assert {"x", "r"} <= steps
    assert "y" not in steps


class Imputing(nn.Module):
    """Scales a row, puts 0 for what is missing, and answers."""

    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor([0.5, 2.0, 1.0, 1.0]))
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.layers((features * self.scale).nan_to_num())
        return answer


class TableWithMissing(TinyTable):
    inputs = (TensorSpec(name="features", dtype="float32", shape=("batch", 4), missing=True),)
    variants = (Variant(name="int8", quantization=Quantization(method="static", form="elementwise")),)

    def build(self) -> nn.Module:
        return Imputing()

    def dataset(self, split: str) -> list[Example]:
        rows = super().dataset(split)
        for row, _ in rows[::3]:
            row["features"][3] = np.nan
        return rows


def test_a_table_with_missing_values_is_quantized_behind_them(tmp_path: Path) -> None:
    spec = TableWithMissing()
    export_module(spec, fit(spec, steps=50), tmp_path / "fp32.onnx")
    entry = searched(spec, tmp_path / "fp32.onnx", tmp_path)
    assert entry.problem is None
    assert entry.details["layers"] == 2
    examples = spec.dataset("valid")
    expected = answer(open_session(tmp_path / "fp32.onnx"), spec, examples)
    assert relative_error(expected, answer(open_session(tmp_path / "variants" / "int8.onnx"), spec, examples)) < 0.05
