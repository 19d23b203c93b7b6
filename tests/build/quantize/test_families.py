"""Whole families of networks that int8 used to leave out: old opsets, upsampling, tensors that two nodes share."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from lading.build.examples import open_graph
from lading.build.quantize.calibration import Method, float_activations, observe
from lading.build.quantize.static_int8 import (
    ELEMENTWISE,
    FORMS,
    Form,
    prepare,
    quantizable_layers,
    quantize_static,
)
from lading.spec import Quantization
from lading.tensors.agreement import relative_error

SHAPE = (2, 8, 16, 16)
METHODS: tuple[Method, ...] = get_args(Method)


def weights(name: str, *shape: int) -> onnx.TensorProto:
    rng = np.random.default_rng(sum(name.encode()))
    return onnx.numpy_helper.from_array((rng.normal(size=shape) / 4).astype(np.float32), name)


def network(text: str, opset: int, *more: onnx.TensorProto, sides: str = "16,16") -> onnx.ModelProto:
    model: onnx.ModelProto = onnx.parser.parse_model(
        f'<ir_version: 7, opset_import: ["" : {opset}]> '
        f"g (float[batch,8,{sides}] x) => (float[batch,8,h,w] y) {{ {text} }}"
    )
    own = [weights("w1", 8, 8, 3, 3), weights("w2", 8, 8, 3, 3), weights("b1", 8), weights("b2", 8)]
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(one for one in (*own, *more) if one.name in read)
    return model


def convolutions(bias: str = "b2", weight: str = "w2", between: str = "m = Relu (h)") -> str:
    first, second = (
        f"{out} = Conv <pads = [1, 1, 1, 1]> ({read}, {w}, {b})"
        for out, read, w, b in (("h", "x", "w1", "b1"), ("z", "m", weight, bias))
    )
    return f"{first} {between} {second} y = Conv <pads = [1, 1, 1, 1]> (z, w1, b1)"


def dense(*bias: int) -> onnx.ModelProto:
    """Two convolutions and a dense layer, whose bias has this shape."""
    text = (
        "h = Conv <pads = [1, 1, 1, 1]> (x, w1, b1) m = Relu (h) z = Conv <pads = [1, 1, 1, 1]> (m, w2, b2) "
        "p = GlobalAveragePool (z) f = Flatten (p) c = MatMul (f, w3) d = Add (c, b3) y = Reshape (d, square)"
    )
    square = onnx.numpy_helper.from_array(np.array([-1, 8, 1, 1], np.int64), "square")
    return network(text, 17, weights("w3", 8, 8), weights("b3", *bias), square)


RESIZED = 'm = Resize <mode = "linear", axes = [2, 3]> (h, , , sizes)'
SIZES = onnx.numpy_helper.from_array(np.array([32, 32], np.int64), "sizes")
ODD = onnx.numpy_helper.from_array(np.array([31, 23], np.int64), "sizes")
UNEVEN = onnx.numpy_helper.from_array(np.array([23, 19], np.int64), "sizes")
"""Twelve times the nearest float32 to 23 / 12 is a little less than 23."""
SMALLER = "p = MaxPool <kernel_shape = [5, 5]> (h) "
DOUBLED = onnx.numpy_helper.from_array(np.array([2.0, 2.0], np.float32), "twice")
COMPUTED = (
    "s = Shape <start = 2> (x) t = Add (s, s) "
    'm = Resize <mode = "linear", axes = [2, -1], keep_aspect_ratio_policy = "stretch"> (h, , , t)'
)
RATIO = (
    "s = Shape <start = 2> (x) f = Cast <to = 1> (s) o = Div (f, f) t = Add (o, o) "
    'm = Resize <mode = "linear", axes = [2, 3]> (h, , t)'
)
NEAREST = SMALLER + 'm = Resize <mode = "nearest", axes = [2, 3]> (p, , , sizes)'
FAMILIES = {
    "opset 7": network(convolutions(), 7),
    "opset 9": network(convolutions(), 9),
    "opset 11": network(convolutions(), 11),
    "opset 12": network(convolutions(), 12),
    "a shared bias": network(convolutions(bias="b1"), 17),
    "shared weights": network(convolutions(weight="w1"), 17),
    "upsampling to sizes by axes": network(convolutions(between=RESIZED), 18, SIZES),
    "resizing to odd sizes": network(convolutions(between=RESIZED), 18, ODD),
    "sizes that no scale gives": network(convolutions(between=SMALLER + RESIZED.replace("(h", "(p")), 18, UNEVEN),
    "the nearest pixel of uneven sizes": network(convolutions(between=NEAREST), 18, UNEVEN),
    "sizes that the graph computes": network(convolutions(between=COMPUTED), 18, sides="a,b"),
    "scales by axes": network(convolutions(between=RESIZED.replace(", , , sizes", ", , twice")), 18, DOUBLED),
    "scales that the graph computes": network(convolutions(between=RATIO), 18, sides="a,b"),
    "a bias of one row": dense(1, 8),
    "a bias of one value": dense(1, 1),
}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES.keys())
def test_a_family_is_quantized_and_answers_as_before(model: onnx.ModelProto, form: Form, tmp_path: Path) -> None:
    onnx.save(model, tmp_path / "given.onnx")
    prepared = prepare(tmp_path / "given.onnx")
    feed: dict[str, NDArray[np.float32]] = {"x": np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)}
    seen = observe(prepared, float_activations(prepared, ELEMENTWISE), [feed], histograms=False)
    ranges = {name: activation.range("minmax") for name, activation in seen.items()}
    layers = quantizable_layers(prepared, ranges, (), form)
    assert len(layers) == 3
    made = quantize_static(prepared, ranges, Quantization(method="static"), layers=layers, form=form)
    assert [node.op_type for node in made.graph.node].count("QuantizeLinear") >= 3
    before, after = (open_graph(graph).run(None, feed)[0] for graph in (model, made))
    assert relative_error({"y": before}, {"y": after}) < 0.05


MISSING = "s = Mul (x, half) n = IsNaN (s) f = Where (n, none, s) "
FILLED = MISSING + convolutions().replace("(x, w1, b1)", "(f, w1, b1)")
HIDDEN = "m = Add (h, mask) p = Softmax <axis = 3> (m)"
MASK = np.where(np.arange(16) % 3, 0, -np.inf).astype(np.float32).reshape(1, 1, 1, 16)
CONSTANTS = (
    onnx.numpy_helper.from_array(np.array(0.5, np.float32), "half"),
    onnx.numpy_helper.from_array(np.array(0, np.float32), "none"),
    onnx.numpy_helper.from_array(MASK, "mask"),
)
MASKED = convolutions(between=HIDDEN).replace("(m, w2, b2)", "(p, w2, b2)")
NOT_FINITE = {"missing values": FILLED, "a mask of infinity": MASKED}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("text", NOT_FINITE.values(), ids=NOT_FINITE.keys())
def test_what_is_not_finite_stays_in_float_and_the_rest_is_quantized(text: str, form: Form, tmp_path: Path) -> None:
    model = network(text, 17, *CONSTANTS)
    onnx.save(model, tmp_path / "given.onnx")
    prepared = prepare(tmp_path / "given.onnx")
    values = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    feed = {"x": np.where(values > 1, np.float32(np.nan), values) if text == FILLED else values}
    seen = observe(prepared, float_activations(prepared, ELEMENTWISE), [feed], histograms=True)
    for method in METHODS:
        ranges = {name: activation.range(method) for name, activation in seen.items()}
        layers = quantizable_layers(prepared, ranges, (), form)
        assert layers, "what is finite is quantized"
        made = quantize_static(prepared, ranges, Quantization(method="static"), layers=layers, form=form)
        rounded = {node.input[0] for node in made.graph.node if node.op_type == "QuantizeLinear"}
        odd = {name for name, reach in ranges.items() if not np.isfinite(reach).all()}
        assert odd
        assert not odd & rounded
        before, after = (open_graph(graph).run(None, feed)[0] for graph in (model, made))
        assert np.isfinite(after).all()
        assert relative_error({"y": before}, {"y": after}) < 0.1
