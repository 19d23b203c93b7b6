"""A bare ONNX file from elsewhere is described, measured, gated and served like any other model."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from rich.console import Console

from lading.artifact import Artifact
from lading.artifact.manifest import PackedVariant, RefusedVariant
from lading.build.onnx_file import WrappedOnnx, pack_onnx
from lading.build.onnx_reader import read_bare, read_labels
from lading.build.verify.tables import describe
from lading.drift.reference import Reference
from lading.errors import SpecError, WrapError
from lading.predictor import Predictor
from lading.protocol.describe import describe_model
from lading.spec import Array, TensorSpec, Variant
from tests.given.onnx_text import CLASSIFIER, parse, save
from tests.given.quick_verify import quick_verify

NAMES = ("setosa", "versicolor", "virginica")


def wrap(file: Path, out: Path, *, labels: Path | None = None, calibration: Path | None = None) -> Artifact:
    with quick_verify():
        return pack_onnx(file, out, name="iris", labels=labels, calibration=calibration)


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    return save(parse(CLASSIFIER), tmp_path / "iris.onnx")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(NAMES) + "\n\n")
    return path


def test_a_bare_file_with_labels_serves(classifier: Path, labels: Path, tmp_path: Path) -> None:
    artifact = wrap(classifier, tmp_path / "artifact", labels=labels)
    manifest = artifact.manifest
    assert manifest.inputs == (TensorSpec(name="x", dtype="float32", shape=("batch", 4)),)
    assert manifest.outputs == (TensorSpec(name="y", dtype="float32", shape=("batch", 3), labels=NAMES),)
    assert (manifest.name, manifest.chosen, manifest.description) == ("iris", "fp32", "wrapped from iris.onnx")
    assert manifest.provenance.spec is None
    predictor = Predictor(artifact)
    predictor.check_golden()
    rows = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_allclose(predictor({"x": rows})["y"].sum(1), np.ones(5), rtol=1e-5)


def test_without_calibration_there_is_no_int8_and_no_reference(classifier: Path, tmp_path: Path) -> None:
    artifact = wrap(classifier, tmp_path / "artifact")
    assert [packed.variant.name for packed in artifact.manifest.variants] == ["fp32"]
    assert artifact.manifest.refused == ()
    assert Reference.from_json(artifact.reference_json()).features == {}
    measured = artifact.manifest.variants[0].measurement
    assert measured is not None
    assert measured.cost[1] > 0


def test_calibration_data_add_an_int8_variant_that_is_compared_and_judged(
    classifier: Path, labels: Path, tmp_path: Path
) -> None:
    rows = np.random.default_rng(1).normal(size=(64, 4)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", x=rows)
    manifest = wrap(classifier, tmp_path / "artifact", labels=labels, calibration=tmp_path / "rows.npz").manifest
    judged: list[PackedVariant | RefusedVariant] = [*manifest.variants, *manifest.refused]
    int8 = next(entry for entry in judged if entry.variant.name == "int8")
    assert int8.measurement is not None
    assert int8.measurement.scores["test"] >= 0.9
    assert int8.reasons if int8 in manifest.refused else not int8.reasons
    reference = Reference.from_json((tmp_path / "artifact" / "reference.json").read_bytes())
    assert reference.examples == 32
    golden = Artifact.load(tmp_path / "artifact").golden_inputs()["x"]
    assert all(any(np.array_equal(row, real) for real in rows) for row in golden)


@pytest.mark.parametrize(
    ("producer", "told"),
    [
        (("tf2onnx", "1.16"), "given file, tf2onnx 1.16"),
        (("skl2onnx", ""), "given file, skl2onnx"),
        (("", ""), "given file, of an unknown exporter"),
        (("a\nb\x1b[2J" + "x" * 999, "1"), None),
    ],
)
def test_what_made_a_graph_is_told_by_manifest_inspect_and_model(
    producer: tuple[str, str], told: str | None, tmp_path: Path
) -> None:
    model = parse(CLASSIFIER)
    model.producer_name, model.producer_version = producer
    artifact = wrap(save(model, tmp_path / "given.onnx"), tmp_path / "artifact")
    (packed,) = artifact.manifest.variants
    assert packed.exporter.isprintable()
    assert len(packed.exporter) < 600
    if told is not None:
        assert packed.exporter == told
        stream = io.StringIO()
        Console(file=stream, width=100).print(describe(artifact))
        assert told in stream.getvalue()
    assert describe_model(artifact, packed, "no classifier")["exporter"] == packed.exporter


def test_too_few_rows_for_a_tolerance_are_told_with_the_number_or_tolerance_that_suffices(
    classifier: Path, tmp_path: Path
) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", x=rows)

    def packed(tolerance: float) -> tuple[Variant, list[str]]:
        told: list[str] = []
        with quick_verify():
            manifest = pack_onnx(
                classifier,
                tmp_path / f"at-{tolerance}",
                name="iris",
                calibration=tmp_path / "rows.npz",
                tolerance=tolerance,
                tell=told.append,
            ).manifest
        judged: list[PackedVariant | RefusedVariant] = [*manifest.variants, *manifest.refused]
        found = {entry.variant.name: entry.variant for entry in judged}
        return found["int8"], told

    variant, told = packed(0.01)
    assert variant.max_score_drop == 0.01
    assert re.search(
        r"int8 is refused: .* 60 rows, of which 30 .* where 0\.01 is allowed\. It takes .*--tolerance", told[0]
    )
    needed = float(told[0].rpartition("--tolerance ")[2])
    variant, told = packed(needed)
    assert variant.max_score_drop == needed
    assert not [line for line in told if "--tolerance" in line]


def test_a_calibration_example_is_never_scored(classifier: Path) -> None:
    rows = np.arange(40, dtype=np.float32).reshape(10, 4)
    spec = WrappedOnnx("iris", read_bare(classifier, real={"x": rows}))
    calibrates = {example["x"][0] for example, _ in spec.dataset("train")}
    checks = {example["x"][0] for example, _ in spec.dataset("test")}
    assert len(calibrates) == len(checks) == 5
    assert not calibrates & checks


def test_the_score_is_agreement_by_label_by_integer_or_by_value(tmp_path: Path) -> None:
    body = CLASSIFIER + " best = ArgMax <axis = 1, keepdims = 0> (y) "
    file = save(parse(body, outputs="float[N, 3] y, int64[N] best, float[N, 3] logits"), tmp_path / "three.onnx")
    spec = WrappedOnnx("three", read_bare(file, NAMES))
    y = np.eye(3, dtype=np.float32)
    target: dict[str, Array] = {"y": y, "best": np.arange(3), "logits": y}
    assert spec.score(target, target) == 1.0
    assert spec.score(target | {"best": np.array([0, 1, 1])}, target) == pytest.approx(1 - 1 / 9)
    assert spec.score(target | {"y": y[[0, 0, 2]]}, target) == pytest.approx(1 - 1 / 9)
    unlabelled = WrappedOnnx("three", read_bare(file))
    assert unlabelled.score(target | {"logits": 0.9 * y}, target) == pytest.approx(1 - 0.1 / 3)
    assert [tensor.labels for tensor in spec.outputs] == [NAMES, None, NAMES]


def test_names_that_no_tensor_may_have_are_cleaned(tmp_path: Path) -> None:
    model = parse(CLASSIFIER)
    for value, name in ((model.graph.input[0], "input:0"), (model.graph.output[0], "0/Softmax")):
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [name if old == value.name else old for old in names]
        value.name = name
    bare = read_bare(save(model, tmp_path / "odd.onnx"))
    assert [tensor.name for tensor in (*bare.inputs, *bare.outputs)] == ["input_0", "_0_Softmax"]


def test_a_picture_input_is_recognised(tmp_path: Path) -> None:
    model = parse(
        "f = Cast <to = 1> (x) y = ReduceMean <keepdims = 0, axes = [1, 2]> (f)", "uint8[N, 8, 8, 3] x", opset=13
    )
    assert read_bare(save(model, tmp_path / "picture.onnx")).inputs[0].content == "image"


def test_a_fixed_batch_of_one_is_freed_when_the_graph_allows_it(tmp_path: Path) -> None:
    model = parse(CLASSIFIER, "float[1, 4] x", "float[1, 3] y")
    bare = read_bare(save(model, tmp_path / "one.onnx"))
    assert bare.inputs[0].shape == ("batch", 4)
    assert bare.outputs[0].shape == ("batch", 3)


def test_other_symbolic_dims_keep_their_names(tmp_path: Path) -> None:
    model = parse("y = Relu (x)", "float[N, tokens, 4] x", "float[N, tokens, 4] y")
    bare = read_bare(save(model, tmp_path / "sequence.onnx"))
    assert bare.inputs[0].shape == bare.outputs[0].shape == ("batch", "tokens", 4)


def test_dims_without_a_name_get_one(tmp_path: Path) -> None:
    model = parse("y = Relu (x)", "float[N, t, 4] x", "float[N, t, 4] y")
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim[:2]:
            dim.ClearField("dim_param")
    bare = read_bare(save(model, tmp_path / "unnamed.onnx"))
    assert bare.inputs[0].shape == ("batch", "x_1", 4)
    assert bare.outputs[0].shape[0] == "batch"


def test_an_output_without_a_shape_is_described_by_running_it(tmp_path: Path) -> None:
    model = parse(CLASSIFIER)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert read_bare(save(model, tmp_path / "shapeless.onnx")).outputs[0].shape == ("batch", 3)


def test_weights_kept_in_another_file_are_taken_in(tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    file = tmp_path / "split" / "iris.onnx"
    onnx.save(parse(CLASSIFIER), file, save_as_external_data=True, location="iris.data", size_threshold=0)
    artifact = wrap(file, tmp_path / "artifact")
    assert [name for name in artifact.manifest.files if name.startswith("variants/")] == ["variants/fp32.onnx"]
    (file.parent / "iris.data").unlink()
    with pytest.raises(WrapError, match=r"iris\.data"):
        read_bare(file)


def test_weights_that_no_graph_can_hold_are_refused_before_they_are_read(tmp_path: Path) -> None:
    file = tmp_path / "large.onnx"
    onnx.save(parse(CLASSIFIER), file, save_as_external_data=True, location="large.data", size_threshold=0)
    with (tmp_path / "large.data").open("r+b") as stream:
        stream.truncate(3_000_000_000)  # a hole, which takes no disk
    with pytest.raises(WrapError, match=r"large\.onnx is too large: its weights take 3\.0 GB"):
        read_bare(file)


@pytest.mark.parametrize("branch", [False, True], ids=["by a node", "in a branch"])
def test_what_changes_no_answer_is_told(branch: bool, tmp_path: Path) -> None:
    body = "shape = Shape (x) five = ConstantOfShape <value = float[1] {5}> (shape) y = Add (x, x)"
    if branch:
        body += """
            many = Size (x) none = Constant <value = int64[1] {0}> () some = Greater (many, none)
            side = Squeeze (some)
            z = If (side) <
                then_branch = then () => (float[N, 2] a) { a = Identity (unread) },
                else_branch = other () => (float[N, 2] b) { b = Neg (unread) }
            >"""
    outputs = "float[N, 2] y, float[N, 2] five" + (", float[N, 2] z" if branch else "")
    told: list[str] = []
    file = save(parse(body, "float[N, 2] x, float[N, 2] unread", outputs, opset=13), tmp_path / "m.onnx")
    pack_onnx(file, tmp_path / "out", name="m", tell=told.append)
    unread = [sentence for sentence in told if "no node reads the input 'unread'" in sentence]
    assert len(unread) == (0 if branch else 1)
    assert [sentence for sentence in told if "the output 'five' is the same for all 32 made-up requests" in sentence]
    assert not [sentence for sentence in told if "'y'" in sentence or "'x'" in sentence]


def test_a_label_that_a_file_has_twice_gets_its_number(classifier: Path) -> None:
    assert read_bare(classifier, ["crane", "cat", "crane"]).outputs[0].labels == ("crane (0)", "cat", "crane (2)")


def test_labels_must_fit_an_output(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(WrapError, match=r"there are 2 labels, and no output .* of that size: y \['batch', 3\]"):
        read_bare(classifier, ["a", "b"])
    odd = tmp_path / "odd.txt"
    for content, problem in (("", "it is empty"), ("a\n\nb\n", "line 2 is empty")):
        odd.write_text(content)
        with pytest.raises(WrapError, match=problem):
            read_labels(odd)
    with pytest.raises(WrapError, match=r"nowhere\.txt cannot be read"):
        read_labels(tmp_path / "nowhere.txt")


CALIBRATION = {
    "another name": ({"z": np.zeros((4, 4), np.float32)}, "unknown input 'z'; the inputs are: x"),
    "another dtype": ({"x": np.zeros((4, 4))}, "has dtype float64; the model takes float32"),
    "another shape": ({"x": np.zeros((4, 5), np.float32)}, r"shape \[4, 5\]; the model takes \[batch, 4\]"),
    "one example": ({"x": np.zeros((1, 4), np.float32)}, "hold 1 example: .* at least 2"),
}


@pytest.mark.parametrize(("arrays", "problem"), CALIBRATION.values(), ids=CALIBRATION.keys())
def test_calibration_data_must_fit_the_inputs(
    arrays: dict[str, Array],
    problem: str,
    classifier: Path,
    tmp_path: Path,
) -> None:
    (name, array), *_ = arrays.items()
    np.savez(tmp_path / "rows.npz", allow_pickle=False, **{name: array})
    with pytest.raises(WrapError, match=problem):
        pack_onnx(classifier, tmp_path / "artifact", name="iris", calibration=tmp_path / "rows.npz")
    assert not (tmp_path / "artifact").exists()


TREE = """t = ai.onnx.ml.TreeEnsembleRegressor <
    nodes_treeids = [0, 0, 0], nodes_nodeids = [0, 1, 2], nodes_featureids = [0, 0, 0], nodes_values = [0.0, 0.0, 0.0],
    nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF"], nodes_truenodeids = [1, 0, 0], nodes_falsenodeids = [2, 0, 0],
    target_treeids = [0, 0], target_nodeids = [1, 2], target_ids = [0, 0], target_weights = [-1.0, 1.0], n_targets = 1
> (x)"""
NOTHING_FOR_INT8 = {
    "a tree": parse(TREE, outputs="float[N, 1] t", domain="ai.onnx.ml"),
    "integers": parse("y = Add (x, x)", "int64[N, 4] x", "int64[N, 4] y"),
}


@pytest.mark.parametrize("model", NOTHING_FOR_INT8.values(), ids=NOTHING_FOR_INT8.keys())
def test_a_graph_without_anything_for_int8_is_packed_without_it(model: onnx.ModelProto, tmp_path: Path) -> None:
    kind = np.float32 if model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT else np.int64
    np.savez(tmp_path / "rows.npz", x=np.arange(40).reshape(10, 4).astype(kind))
    file = save(model, tmp_path / "m.onnx")
    manifest = wrap(file, tmp_path / "artifact", calibration=tmp_path / "rows.npz").manifest
    assert manifest.chosen == "fp32"
    assert "there is nothing to quantize" in manifest.refused[0].reasons[0]


def test_torn_calibration_data_and_odd_names_are_refused(classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.npz").write_bytes(b"not a zip")
    with pytest.raises(WrapError, match=r"save them with numpy\.savez"):
        pack_onnx(classifier, tmp_path / "artifact", name="iris", calibration=tmp_path / "rows.npz")
    with pytest.raises(SpecError, match="a model's name is a letter"):
        pack_onnx(classifier, tmp_path / "artifact", name="1 iris")


def test_a_file_that_is_quantized_already_is_not_called_fp32(tmp_path: Path) -> None:
    through_int8 = "q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) "
    model = parse(through_int8 + CLASSIFIER.replace("(x,", "(d,"))
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.array(0.1, np.float32), "s"), numpy_helper.from_array(np.array(0, np.uint8), "z")]
    )
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32))
    manifest = wrap(save(model, tmp_path / "q.onnx"), tmp_path / "artifact", calibration=tmp_path / "rows.npz").manifest
    assert manifest.variants[0].precision == "unknown"
    assert "quantized already" in manifest.refused[0].reasons[0]
