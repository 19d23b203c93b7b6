"""What of an ONNX file from elsewhere cannot be served is said, with a way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lading.build.examples import open_graph
from lading.build.onnx_reader import read_bare
from lading.errors import WrapError
from lading.spec import TensorSpec
from tests.given.onnx_text import parse, save

NO_END = """
   on = Constant <value = bool {1}> ()
   none = Constant <value = int64 {1000000000000}> ()
   y = Loop (none, on, x) <body = body (int64 i, bool c, float[N, 4] v) => (bool d, float[N, 4] w) {
      d = Identity (c)
      w = Add (v, v)
   }>
"""


def sequence_output() -> onnx.ModelProto:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["N", 4]))
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_value_info("y", kind)],
    )
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 15)])


def map_input() -> onnx.ModelProto:
    """What a DictVectorizer is converted to."""
    vectorized = helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", string_vocabulary=["a", "b"])
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    kind = helper.make_map_type_proto(TensorProto.STRING, value)
    graph = helper.make_graph(
        [vectorized],
        "g",
        [helper.make_value_info("x", kind)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(
        graph, ir_version=9, opset_imports=[helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    )


def shapeless() -> onnx.ModelProto:
    model = parse("y = Relu (x)")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    return model


def optional_output() -> onnx.ModelProto:
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["N", 4]))
    graph = helper.make_graph(
        [helper.make_node("Optional", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_value_info("y", kind)],
    )
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])


def without(end: str) -> Callable[[], onnx.ModelProto]:
    def made() -> onnx.ModelProto:
        model = parse("y = Constant <value = float {1.0}> ()", outputs="float[] y")
        del getattr(model.graph, end)[:]
        return model

    return made


UNUSABLE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "unknown operator": (lambda: parse("y = Fancy (x)"), "Fancy.*opset_version=20"),
    "unknown domain": (lambda: parse("y = my.ops.Fancy (x)", domain="my.ops"), "Its opsets are ai.onnx 20, my.ops 1"),
    "sequence output": (sequence_output, "output 'y' .* with ConcatFromSequence"),
    "map input": (map_input, "input 'x' .* give its values as one tensor"),
    "half floats of another kind": (
        lambda: parse("y = Identity (x)", "bfloat16[N, 3] x", "bfloat16[N, 3] y"),
        "export it as float32 or an integer|cannot be served",
    ),
    "optional output": (optional_output, "output 'y' .* with OptionalGetElement"),
    "no inputs": (without("input"), "has no inputs, so every answer is the same"),
    "no outputs": (without("output"), "has no outputs, so there is no answer"),
    "a random number": (
        lambda: parse("r = RandomNormalLike <scale = 0.00001> (x)  y = Add (x, r)"),
        "gets another 'y' in each run, since its node 'RandomNormalLike' draws random numbers: make them an input",
    ),
    "an answer that is drawn": (
        lambda: parse("y = Multinomial <dtype = 7> (x)", "float[N, 4] x", "int64[N, 1] y"),
        "gets another 'y' in each run, since its node 'Multinomial' draws",
    ),
    "a random number in a branch": (
        lambda: parse(
            """c = Constant <value = bool {1}> ()
            y = If (c) <then_branch = t () => (float[N, 4] a) { a = RandomNormalLike (x) },
                        else_branch = e () => (float[N, 4] b) { b = Identity (x) }>"""
        ),
        "'RandomNormalLike' draws random numbers",
    ),
    "dropout as in training": (
        lambda: parse(
            """r = Constant <value = float {0.5}> ()
            t = Constant <value = bool {1}> ()
            d = Dropout (x, r, t)
            y = Relu (d)"""
        ),
        "'Dropout' is a Dropout in training mode.*model.eval",
    ),
    "an input of gigabytes": (
        lambda: parse("y = ReduceMean <axes = [1]> (x)", "float[N, 800000000] x", "float[N, 1] y", 17),
        "input 'x' has 800,000,000 numbers in each example, and at most 268,435,456",
    ),
    "an input without a shape": (shapeless, "input 'x' .* has no shape, so its number of dims is unknown"),
}


@pytest.mark.parametrize(("model", "problem"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_what_cannot_be_served_is_refused_with_a_way_out(
    model: Callable[[], onnx.ModelProto], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(WrapError) as caught:
        read_bare(save(model(), tmp_path / "odd.onnx"))
    assert re.search(problem, str(caught.value), re.DOTALL), str(caught.value)
    assert "odd.onnx" in str(caught.value)


def test_files_that_are_not_onnx_are_refused(tmp_path: Path) -> None:
    (tmp_path / "torch.onnx").write_bytes(b"PK\x03\x04 not a graph")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name, problem in (
        ("torch", "is not an ONNX file"),
        ("empty", "is not an ONNX file"),
        ("no", "there is no file"),
    ):
        with pytest.raises(WrapError, match=problem):
            read_bare(tmp_path / f"{name}.onnx")


def test_a_zipmap_at_the_end_becomes_its_tensor_with_the_classes_as_labels(tmp_path: Path) -> None:
    zipped = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2, 3])
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, value))
    graph = helper.make_graph(
        [zipped],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_value_info("y", kind)],
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    bare = read_bare(save(helper.make_model(graph, ir_version=9, opset_imports=opsets), tmp_path / "zipped.onnx"))
    assert bare.outputs == (TensorSpec(name="y", dtype="float32", shape=("batch", 4), labels=("0", "1", "2", "3")),)
    assert bare.one_by_one is None


def test_a_loop_without_an_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lading.build.onnx_trial.LONGEST_S", 0.3)
    with pytest.raises(WrapError, match=r"endless\.onnx cannot be served: it does not answer 2 rows in 0\.3 s"):
        read_bare(save(parse(NO_END), tmp_path / "endless.onnx"))


def test_a_norm_that_takes_the_statistics_of_the_batch_is_told(tmp_path: Path) -> None:
    constants = "\n".join(f"{name} = Constant <value = float[4] {{1, 1, 1, 1}}> ()" for name in ("s", "t", "m", "v"))
    body = f"{constants}\ny, rm, rv = BatchNormalization <training_mode = 1> (x, s, t, m, v)"
    file = save(parse(body, "float[N, 4, 5] x", "float[N, 4, 5] y", 17), tmp_path / "training.onnx")
    try:
        told = read_bare(file).one_by_one
    except WrapError as error:  # the runtime updates the statistics in place, so that the answers may differ
        told = str(error)
    assert told is not None
    assert "'BatchNormalization'" in told
    assert "model.eval()" in told


def test_an_output_that_is_an_input_gets_a_name_of_its_own(tmp_path: Path) -> None:
    model = parse("y = Relu (x)")
    model.graph.output.append(model.graph.input[0])
    bare = read_bare(save(model, tmp_path / "echo.onnx"))
    assert [spec.name for spec in (*bare.inputs, *bare.outputs)] == ["x", "y", "x_out"]
    rows = np.array([[-1, 2, 3, 4], [5, -6, 7, 8]], np.float32)
    relu, echo = open_graph(bare.model).run(["y", "x_out"], {"x": rows})
    np.testing.assert_array_equal(relu, rows.clip(0))
    np.testing.assert_array_equal(echo, rows)


def lost(folder: Path, data: Path) -> None:
    data.unlink()


def short(folder: Path, data: Path) -> None:
    data.write_bytes(data.read_bytes()[:7])


def linked(folder: Path, data: Path) -> None:
    data.rename(folder / "blob")
    data.symlink_to(folder / "blob")


def outside(folder: Path, data: Path) -> None:
    model = onnx.load(folder / "m.onnx", load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = "../weights.bin" if entry.key == "location" else entry.value
    onnx.save(model, folder / "m.onnx")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lost, r"keeps its weights in weights\.bin, which is not next to it: copy both"),
        (
            short,
            r"keeps its weights in weights\.bin, which is cut short, damaged, or of another graph: copy both",
        ),
        (linked, r"keeps its weights in weights\.bin, which is a symbolic link.*cp -L"),
        (outside, r"keeps its weights in .*\.\./weights\.bin, outside of its folder.*location='weights\.bin'"),
    ],
)
def test_weights_that_cannot_be_taken_in_are_told_with_a_way_out(
    change: Callable[[Path, Path], None], problem: str, tmp_path: Path
) -> None:
    model = parse("y = Mul (x, w)")
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "w"))
    file = tmp_path / "m.onnx"
    onnx.save(model, file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    change(tmp_path, tmp_path / "weights.bin")
    with pytest.raises(WrapError, match=problem):
        read_bare(file)


@pytest.mark.parametrize("width", [1, 2])
def test_an_encoder_that_refuses_other_categories_runs_on_its_own(width: int, tmp_path: Path) -> None:
    """As of a OneHotEncoder of scikit-learn, which refuses what it does not know unless it is told to ignore it."""
    columns = [["x", "y"], ["left", "right", "straight"]][:width]
    nodes = [helper.make_node("Concat", [f"c{i}" for i in range(width)], ["all"], axis=1)]
    for i, known in enumerate(columns):
        nodes += [
            helper.make_node("Gather", ["all", f"at{i}"], [f"only{i}"], axis=1),
            helper.make_node(
                "OneHotEncoder", [f"only{i}"], [f"hot{i}"], domain="ai.onnx.ml", cats_strings=known, zeros=0
            ),
            helper.make_node("ReduceSum", [f"hot{i}", "last"], [f"y{i}"], keepdims=0),
        ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(f"c{i}", TensorProto.STRING, ["N", 1]) for i in range(width)],
        [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, ["N", 1]) for i in range(width)],
        [
            *(numpy_helper.from_array(np.array([i], np.int64), f"at{i}") for i in range(width)),
            numpy_helper.from_array(np.array([2], np.int64), "last"),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    bare = read_bare(save(helper.make_model(graph, ir_version=9, opset_imports=opsets), tmp_path / "columns.onnx"))
    assert [spec.categories for spec in bare.inputs] == [tuple(known) for known in columns]
