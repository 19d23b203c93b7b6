"""A bare graph whose requests cannot share a run is served one by one, and one whose batch is elsewhere is batched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lading.build.onnx_batching import BareModel
from lading.build.onnx_file import pack_onnx
from lading.build.onnx_reader import read_bare
from lading.errors import WrapError
from lading.predictor import Predictor, open_session
from lading.spec import Array
from tests.given.live_server import live_server
from tests.given.onnx_text import CLASSIFIER, parse, save, with_constants
from tests.given.quick_verify import quick_verify

FIXED = ("y = Reshape (x, fixed)", "float[1, 3, 4] x", "float[1, 12] y")
STATE = (
    "s = Add (state, x) y = Identity (x)",
    "float[1, 4] x, float[2, 1, 4] state",
    "float[1, 4] y, float[2, 1, 4] s",
)
FOUND = (
    "w = ReduceMax <keepdims = 0, axes = [0]> (x) c = Greater (w, zero) i = NonZero (c) y = Cast <to = 1> (i)",
    "float[1, 4] x",
    "float[axes, found] y",
)
ONE_BY_ONE: dict[str, tuple[tuple[str, str, str], dict[str, tuple[object, ...]]]] = {
    "nodes that depend on a batch of one": (FIXED, {"x": ("batch", 3, 4), "y": ("batch", 12)}),
    "a state that goes in and out": (
        STATE,
        {"x": ("batch", 4), "state": ("batch", 2, 1, 4), "y": ("batch", 4), "s": ("batch", 2, 1, 4)},
    ),
    "two first dims": (
        ("y = Gemm <transB = 1> (x, z)", "float[N, 3] x, float[M, 3] z", "float[N, M] y"),
        {"x": ("batch", "N", 3), "z": ("batch", "M", 3), "y": ("batch", "N", "M")},
    ),
    "rows that see each other": (
        ("y = Softmax <axis = 0> (x)", "float[N, 3] x", "float[N, 3] y"),
        {"x": ("batch", "N", 3), "y": ("batch", "N", 3)},
    ),
    "rows that see each other, in dims without names": (
        ("y = Softmax <axis = 0> (x)", "float[?, 3] x", "float[?, 3] y"),
        {"x": ("batch", "x_1", 3), "y": ("batch", "y_1", 3)},
    ),
    "a scalar for all rows": (
        ("y = ReduceSum <keepdims = 0> (x)", "float[N, 4] x", "float y"),
        {"x": ("batch", "N", 4), "y": ("batch",)},
    ),
    "a scalar input": (
        ("y = Mul (x, factor)", "float[1, 4] x, float factor", "float[1, 4] y"),
        {"x": ("batch", 4), "factor": ("batch",), "y": ("batch", 4)},
    ),
    "a constant output": (
        ("y = Relu (x) k = Identity (b)", "float[N, 4] x", "float[N, 4] y, float[3] k"),
        {"x": ("batch", "N", 4), "y": ("batch", "N", 4), "k": ("batch", 3)},
    ),
}
"""Graph, and the shapes with which it is served."""


def shapes(bare: BareModel) -> dict[str, tuple[object, ...]]:
    return {spec.name: spec.shape for spec in (*bare.inputs, *bare.outputs)}


@pytest.mark.parametrize(("graph", "wanted"), ONE_BY_ONE.values(), ids=ONE_BY_ONE.keys())
@pytest.mark.parametrize("opset", [11, 20])
def test_a_graph_that_cannot_be_batched_is_served_as_it_is(
    graph: tuple[str, str, str], wanted: dict[str, tuple[object, ...]], opset: int, tmp_path: Path
) -> None:
    body, inputs, outputs = graph
    model = parse(body, inputs, outputs, opset=opset)
    bare = read_bare(save(model, tmp_path / "one.onnx"))
    assert bare.one_by_one
    assert shapes(bare) == wanted
    feed = bare.trial.feed(1)
    original = open_session(model.SerializeToString())
    squeezed = {
        node.name: np.asarray(feed[node.name][0]) if feed[node.name].ndim > len(node.shape) else feed[node.name]
        for node in original.get_inputs()
    }
    served = open_session(bare.model.SerializeToString())
    for ours, theirs in zip(served.run(None, feed), original.run(None, squeezed), strict=True):
        np.testing.assert_array_equal(ours.reshape(theirs.shape), theirs)


def test_a_graph_that_finds_things_answers_one_picture_at_a_time(tmp_path: Path) -> None:
    body, inputs, outputs = FOUND
    model = parse(body, inputs, outputs, opset=13)
    model.graph.initializer.add(name="zero", data_type=1, float_data=[0.0])
    bare = read_bare(save(model, tmp_path / "found.onnx"))
    assert shapes(bare) == {"x": ("batch", 4), "y": ("batch", 1, "found")}
    said: list[str] = []
    rows = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", x=rows)
    with quick_verify():
        artifact = pack_onnx(
            tmp_path / "found.onnx",
            tmp_path / "artifact",
            name="found",
            calibration=tmp_path / "rows.npz",
            tell=said.append,
        )
    assert "there is no int8 variant: the size of found differs by request" in said[1]
    sizes = {Predictor(artifact)({"x": row[None]})["y"].shape for row in rows}
    assert len(sizes) > 1


BATCH_ELSEWHERE = {
    "time in front": ("y = Relu (x)", "float[T, N, 4] x", "float[T, N, 4] y"),
    "state by layers": (
        "f = ReduceSum <keepdims = 1> (state, axis) y = Squeeze (f, axis) s = Neg (state)",
        "float[2, N, 4] state",
        "float[N, 4] y, float[2, N, 4] s",
    ),
}


@pytest.mark.parametrize("graph", BATCH_ELSEWHERE.values(), ids=BATCH_ELSEWHERE.keys())
def test_a_batch_that_is_named_on_another_axis_comes_to_the_front(graph: tuple[str, str, str], tmp_path: Path) -> None:
    model = with_constants(parse(*graph), {"axis": [0]})
    bare = read_bare(save(model, tmp_path / "elsewhere.onnx"))
    assert bare.one_by_one is None
    given = bare.trial.feed(3)
    inside = {name: np.moveaxis(array, 0, 1) for name, array in given.items()}
    wanted = open_session(model.SerializeToString()).run(None, inside)
    served = open_session(bare.model.SerializeToString()).run(None, given)
    for ours, theirs in zip(served, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs if len(theirs) == 3 else np.moveaxis(theirs, 1, 0))


def test_an_axis_that_no_name_tells_can_be_given(tmp_path: Path) -> None:
    file = save(parse("y = Relu (x)", "float[7, B7, 4] x", "float[7, C7, 4] y"), tmp_path / "unnamed.onnx")
    bare = read_bare(file, axes={"x": 1, "y": 1})
    assert bare.one_by_one is None
    assert shapes(bare) == {"x": ("batch", 7, 4), "y": ("batch", 7, 4)}
    with pytest.raises(WrapError, match=r"there is no tensor 'z' .* the tensors are: x, y"):
        read_bare(file, axes={"z": 1})
    with pytest.raises(WrapError, match="'x' has 3 dims, so its batch axis is 0 to 2, not 3"):
        read_bare(file, axes={"x": 3})


def test_first_dims_with_different_names_are_tried_as_one_batch(tmp_path: Path) -> None:
    bare = read_bare(
        save(parse("y = Add (x, z)", "float[A, 4] x, float[B, 4] z", "float[C, 4] y"), tmp_path / "a.onnx")
    )
    assert bare.one_by_one is None


def test_an_artifact_that_is_not_batched_packs_serves_and_says_why(tmp_path: Path) -> None:
    said: list[str] = []
    with quick_verify():
        artifact = pack_onnx(save(parse(*STATE), tmp_path / "state.onnx"), tmp_path / "a", name="vad", tell=said.append)
    assert artifact.manifest.max_batch == 1
    assert "state.onnx is served one by one" in said[0]
    assert "state [1, 2, 1, 4]" in said[0]
    Predictor(artifact).check_golden()
    with live_server(artifact, grpc_port="off") as live:
        state: Array = np.zeros((1, 2, 1, 4), np.float32)
        for step in range(1, 4):
            body = {"x": np.ones((1, 4)).tolist(), "state": state.tolist()}
            answer = live.client.post("/predict", json=body)
            assert answer.status_code == 200, answer.text
            state = np.array(answer.json()["outputs"]["s"], np.float32)
            np.testing.assert_array_equal(state, np.full((1, 2, 1, 4), step, np.float32))
        two = {"x": np.ones((2, 4)).tolist(), "state": np.zeros((2, 2, 1, 4)).tolist()}
        refused = live.client.post("/predict", json=two)
        assert refused.status_code in (400, 422), refused.text
        assert "at most 1" in refused.text


def test_real_examples_decide_what_runs(tmp_path: Path) -> None:
    """No made-up size runs here."""
    body = "t = Reshape (x, steps) y = ReduceSum <keepdims = 0> (t, axis)"
    model = with_constants(parse(body, "float[N, T] x", "float[N] y"), {"steps": [-1, 77], "axis": [1]})
    file = save(model, tmp_path / "odd.onnx")
    with pytest.raises(WrapError, match="the made-up inputs did not run: give real ones with --calibration"):
        read_bare(file)
    rows = np.random.default_rng(0).normal(size=(8, 77)).astype(np.float32)
    bare = read_bare(file, real={"x": rows})
    assert bare.one_by_one is None
    assert shapes(bare) == {"x": ("batch", "T"), "y": ("batch",)}


MADE_UP: dict[str, tuple[tuple[str, str, str], dict[str, list[int]]]] = {
    "a logarithm of a price": (("y = Log (x)", "float[N, 4] x", "float[N, 4] y"), {}),
    "a mask of zeros": (("f = Cast <to = 1> (m) y = Div (f, f)", "int64[N, 4] m", "float[N, 4] y"), {}),
    "a frame of 400 samples": (
        ("y = Slice (x, low, high, axes) z = Reshape (y, frame)", "float[N, L] x", "float[N, 400] z"),
        {"low": [0], "high": [400], "axes": [1], "frame": [0, 400]},
    ),
    "sides in multiples of 64": (
        ("t = Reshape (x, tiles) y = ReduceSum <keepdims = 0> (t, last)", "float[N, S] x", "float[N, tiles] y"),
        {"tiles": [0, -1, 64], "last": [2]},
    ),
    "samples beside a state of one row": (
        (
            "s = Slice (x, low, high, axes) t = Reshape (state, one_row) y = Add (s, t)",
            "float[A, L] x, float[2, M, 64] state",
            "float[A, 128] y",
        ),
        {"low": [0], "high": [128], "axes": [1], "one_row": [1, 128]},
    ),
    "two dims of which one is short": (
        ("e = Expand (x, wide) y = ReduceSum <keepdims = 0> (e, last)", "float[N, S] x, float[N, T] z", "float[N] y"),
        {"wide": [1, 5], "last": [1]},
    ),
}
"""Graph, and its constants."""


@pytest.mark.parametrize(("graph", "constants"), MADE_UP.values(), ids=MADE_UP.keys())
def test_made_up_inputs_are_found_by_trying(
    graph: tuple[str, str, str], constants: dict[str, list[int]], tmp_path: Path
) -> None:
    bare = read_bare(save(with_constants(parse(*graph), constants), tmp_path / "tried.onnx"))
    session = open_session(bare.model.SerializeToString())
    assert all(np.isfinite(array).all() for array in session.run(None, bare.trial.feed(1)))


def test_names_are_made_fit_without_taking_anothers(tmp_path: Path) -> None:
    model = parse(CLASSIFIER)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [{"x": "in:0", "y": "out:0", "logits": "in_0", "b": "out_0"}.get(name, name) for name in names]
    model.graph.input[0].name, model.graph.output[0].name = "in:0", "out:0"
    next(one for one in model.graph.initializer if one.name == "b").name = "out_0"
    bare = read_bare(save(model, tmp_path / "taken.onnx"))
    names = [spec.name for spec in (*bare.inputs, *bare.outputs)]
    assert names == ["in_0_", "out_0_"]
    assert [spec.alias for spec in (*bare.inputs, *bare.outputs)] == ["in:0", "out:0"]
    row = np.ones((1, 4), np.float32)
    ours = open_session(bare.model.SerializeToString()).run(None, {"in_0_": row})[0]
    np.testing.assert_array_equal(ours, open_session(model.SerializeToString()).run(None, {"in:0": row})[0])


def test_requests_may_use_the_names_of_the_file(tmp_path: Path) -> None:
    model = parse("out = Relu (in)", "float[N, 4] in", "float[N, 4] out")
    node = model.graph.node[0]
    node.input[0], node.output[0] = "in:0", "out:0"
    model.graph.input[0].name, model.graph.output[0].name = "in:0", "out:0"
    with quick_verify():
        artifact = pack_onnx(save(model, tmp_path / "named.onnx"), tmp_path / "artifact", name="named")
    with live_server(artifact) as live:
        for name in ("in:0", "in_0"):
            plain = live.client.post("/predict", json={name: [[1.0, -1.0, 2.0, 3.0]]})
            assert plain.json()["outputs"] == {"out_0": [[1.0, 0.0, 2.0, 3.0]]}, plain.text
            tensor = {"name": name, "datatype": "FP32", "shape": [1, 4], "data": [1, -1, 2, 3]}
            asked = name.replace("in", "out")
            wanted = {"inputs": [tensor], "outputs": [{"name": asked}]}
            answer = live.client.post("/v2/models/named/infer", json=wanted).json()
            assert [(one["name"], one["data"]) for one in answer["outputs"]] == [(asked, [1.0, 0.0, 2.0, 3.0])]
        twice = {"inputs": [tensor, {**tensor, "name": "in:0"}]}
        assert "'in_0' is sent twice" in live.client.post("/v2/models/named/infer", json=twice).text
        assert "unknown input 'in:0'" in live.client.post("/predict", json={"in:0": [[0.0]], "in_0": [[0.0]]}).text


def test_each_dim_has_a_name_of_its_own(tmp_path: Path) -> None:
    long = "d" * 80
    model = parse("y = Relu (x)", "float[N, 3, h, w, u, v] x", "float[N, 3, h, w, u, v] y")
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        for place, name in ((2, "?"), (3, "?"), (4, long + "1"), (5, long + "2")):
            dims[place].dim_param = name
    shape = read_bare(save(model, tmp_path / "ocr.onnx")).inputs[0].shape
    assert len({*shape}) == 6
    assert all(len(str(dim)) <= 64 for dim in shape)
