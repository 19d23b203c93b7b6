"""Rewrites leave the answers as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from lading.build.examples import open_graph
from lading.build.export.export import export_module
from lading.build.export.rewrites import drop_unused, rewrite
from lading.spec import Array
from tests.given.tiny import TinyImage, fit

MEAN = np.array([10.0, 20.0, 30.0], np.float32)
STD = np.array([2.0, 4.0, 8.0], np.float32)


def parse(
    body: str, *, inputs: str = "uint8[batch, 8, 8, 3] image", output: str = "float[batch, 4, 8, 8] out"
) -> onnx.ModelProto:
    """A graph whose weights are drawn at random, from ONNX's own text form."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 20]> g ({inputs}) => ({output}) {{ {body} }}"""
    )
    rng = np.random.default_rng(0)
    constants = {"W": rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "mean": MEAN, "std": STD}
    constants |= {"channel_mean": MEAN.reshape(3, 1, 1), "channel_std": STD.reshape(3, 1, 1)}
    constants |= {"side": np.array([11, 11], np.int64), "roi": np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)}
    constants |= {"one": np.array(255.0, np.float32), "axes": np.array([2, 3], np.int64)}
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in constants.items() if name in read
    )
    onnx.checker.check_model(model)
    return model


def run(model: onnx.ModelProto, feed: Array) -> Array:
    session = open_graph(model)
    answer: Array = session.run(None, {session.get_inputs()[0].name: feed})[0]
    return answer


def types(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


NHWC = """
    pixels = Cast <to = 1> (image)
    centred = Sub (pixels, mean)
    scaled = Div (centred, std)
    planes = Transpose <perm = [0, 3, 1, 2]> (scaled)
    out = Conv <pads = [1, 1, 1, 1]> (planes, W)
"""
CHAINS = {
    "normalised before the transpose": NHWC,
    "scaled to one first": """
        pixels = Cast <to = 1> (image)
        unit = Mul (pixels, one)
        planes = Transpose <perm = [0, 3, 1, 2]> (unit)
        shifted = Add (planes, one)
        out = Conv <pads = [1, 1, 1, 1]> (shifted, W)
    """,
    "scaled alone": """
        planes = Transpose <perm = [0, 3, 1, 2]> (image)
        pixels = Cast <to = 1> (planes)
        unit = Div (pixels, one)
        out = Conv <pads = [1, 1, 1, 1]> (unit, W)
    """,
}


@pytest.mark.parametrize("body", CHAINS.values(), ids=CHAINS.keys())
def test_normalising_moves_behind_the_transpose_and_into_the_weights(body: str) -> None:
    model = parse(body)
    rewritten = rewrite(model)
    image = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_allclose(run(rewritten, image), run(model, image), rtol=1e-5, atol=1e-3)
    subtract = [] if "Div (pixels, one)" in body else ["Sub"]
    assert types(rewritten) == ["Transpose", "Cast", *subtract, "Conv"]


RESIZED = """
    pixels = Cast <to = 1> (image)
    planes = Transpose <perm = [0, 3, 1, 2]> (pixels)
    kept = Shape <start = 0, end = 2> (planes)
    sizes = Concat <axis = 0> (kept, side)
    larger = Resize <mode = "linear"> (planes, , , sizes)
    centred = Sub (larger, channel_mean)
    scaled = Div (centred, channel_std)
    out = Conv <pads = [1, 1, 1, 1]> (scaled, W)
"""


def test_planes_are_resized_before_the_mean_is_subtracted_and_no_shape_is_read() -> None:
    model = parse(RESIZED, output="float[batch, 4, 11, 11] out")
    rewritten = rewrite(model)
    image = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_allclose(run(rewritten, image), run(model, image), rtol=1e-5, atol=1e-3)
    assert types(rewritten) == ["Transpose", "Cast", "Resize", "Sub", "Conv"]


KEPT = {
    "cubic": RESIZED.replace("linear", "cubic"),
    "a crop": RESIZED.replace('"linear"', '"linear", coordinate_transformation_mode = "tf_crop_and_resize"').replace(
        "(planes, , ,", "(planes, roi, ,"
    ),
    "planes that are read again": RESIZED + " other = Relu (larger) ",
    "pixels that are transposed later": NHWC.replace("Sub (pixels", "Sub (larger").replace(
        "centred =", 'larger = Resize <mode = "linear", axes = [1, 2]> (pixels, , , side) centred ='
    ),
}


@pytest.mark.parametrize("body", KEPT.values(), ids=KEPT.keys())
def test_what_does_not_pass_through_a_resize_stays_behind_it(body: str) -> None:
    output = "float[batch, 4, 11, 11] out"
    rewritten = rewrite(parse(body, output=f"{output}, float[batch, 3, 11, 11] other" if "other" in body else output))
    assert "/scaled" not in "".join(name for node in rewritten.graph.node for name in node.input)


REFUSED = {
    "a constant minus the pixels": NHWC.replace("Sub (pixels, mean)", "Sub (mean, pixels)"),
    "an operator that is not linear": NHWC.replace("Sub (pixels, mean)", "Relu (pixels)"),
    "a second reader": NHWC + " other = Relu (centred) ",
    "nothing to fold": """
        planes = Transpose <perm = [0, 3, 1, 2]> (image)
        pixels = Cast <to = 1> (planes)
        out = Conv <pads = [1, 1, 1, 1]> (pixels, W)
    """,
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_any_other_chain_stays_as_it_is(body: str) -> None:
    output = "float[batch, 4, 8, 8] out"
    model = parse(body, output=f"{output}, float[batch, 8, 8, 3] other" if "other" in body else output)
    assert rewrite(model).graph.node == model.graph.node


def test_a_value_that_is_also_an_output_is_kept() -> None:
    model = parse(NHWC, output="float[batch, 4, 8, 8] out, float[batch, 8, 8, 3] centred")
    assert rewrite(model).graph.node == model.graph.node


@pytest.mark.parametrize(("keepdims", "shape"), [(1, "[batch, 3, 1, 1]"), (0, "[batch, 3]")])
@pytest.mark.parametrize("opset", [20, 13])
def test_a_mean_over_the_picture_becomes_global_pooling(keepdims: int, shape: str, opset: int) -> None:
    mean = "ReduceMean <axes = [2, 3], keepdims = %d> (x)" if opset == 13 else "ReduceMean <keepdims = %d> (x, axes)"
    model = (
        parse(f"out = {mean % keepdims}", inputs="float[batch, 3, 5, 5] x", output=f"float{shape} out")
        if (opset == 20)
        else onnx.parser.parse_model(
            f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float[batch, 3, 5, 5] x) => (float{shape} out) {{ out = {mean % keepdims} }}"""
        )
    )
    rewritten = rewrite(model)
    values = np.random.default_rng(1).normal(size=(2, 3, 5, 5)).astype(np.float32)
    assert types(rewritten)[0] == "GlobalAveragePool"
    np.testing.assert_allclose(run(rewritten, values), run(model, values), atol=1e-6)


def test_a_mean_over_channels_stays() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[batch, 3, 5, 5] x) => (float[batch, 1, 5, 5] out) { out = ReduceMean <axes = [1]> (x) }"""
    )
    assert types(rewrite(model)) == ["ReduceMean"]


def test_what_no_output_needs_is_dropped_but_what_a_branch_reads_is_kept() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[n] x, bool c) => (float[n] out) {
            used = Relu (x)
            unused = Neg (x)
            out = If (c) <then_branch = t () => (float[n] y) { y = Identity (used) },
                          else_branch = e () => (float[n] z) { z = Abs (used) }>
        }"""
    )
    drop_unused(model)
    assert types(model) == ["Relu", "If"]


class Pooled(nn.Module):
    """Adaptive pooling, which the exporter would write as a Gather over every element."""

    def __init__(self) -> None:
        super().__init__()
        self.network = fit(TinyImage(), steps=1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        colour, shade = self.network(image)
        return colour, shade


def test_an_exported_picture_model_has_the_fast_form(tmp_path: Path) -> None:
    file = tmp_path / "fp32.onnx"
    export_module(TinyImage(), Pooled(), file)
    found = types(onnx.load(file))
    assert found[:4] == ["Transpose", "Cast", "Sub", "Conv"]
    assert "GlobalAveragePool" in found
    assert not {"Gather", "ReduceMean", "Div"}.intersection(found)
    assert ort.InferenceSession(file, providers=["CPUExecutionProvider"]).get_inputs()[0].shape == ["batch", 16, 16, 3]
