"""Which form of static int8 is fastest? Decision 36: it depends on the network, so a build measures.

python -m benchmarks.studies.0036_int8_recipes

torchvision's networks with random weights, calibrated on noise, on one thread. All graphs of a network take turns. It
takes about six minutes on two cores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import torchvision
import typer
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantizationMode, QuantType, TensorsData
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.registry import QLinearOpsRegistry
from rich.table import Table

from benchmarks.server.bench import console
from lading.build.export.cleanup import quiet
from lading.build.export.export import export_module
from lading.build.quantize.calibration import float_activations, observe
from lading.build.quantize.static_int8 import ELEMENTWISE, FORMS, prepare, quantizable_layers, quantize_static
from lading.build.verify.timing import Plan, measure, ratio
from lading.predictor import open_session
from lading.spec import Array, Example, ModelSpec, Quantization, TensorSpec
from lading.tensors.agreement import relative_error

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Ranges = Mapping[str, tuple[float, float]]


class Noise(ModelSpec):
    """A network of torchvision for pictures of noise."""

    def __init__(self, name: str, pixels: int) -> None:
        self.name = name
        self.pixels = pixels
        self.inputs = (TensorSpec(name="image", dtype="float32", shape=("batch", 3, pixels, pixels)),)
        self.outputs = (TensorSpec(name="score", dtype="float32", shape=("batch", 1000)),)

    def build(self) -> torch.nn.Module:
        torch.manual_seed(0)
        network: torch.nn.Module = torchvision.models.get_model(self.name, weights=None)
        return network

    def dataset(self, split: str) -> list[Example]:
        rng = np.random.default_rng(len(split))
        pictures = rng.normal(size=(8, 3, self.pixels, self.pixels)).astype(np.float32)
        return [({"image": picture}, {"score": np.zeros((), np.int64)}) for picture in pictures]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        raise NotImplementedError("nothing is trained here")

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        raise NotImplementedError("nothing is scored here")


def graphs(model: onnx.ModelProto, ranges: Ranges) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The forms that a build tries, then two that it does not."""
    recipe = Quantization(method="static")
    for form in FORMS:
        layers = quantizable_layers(model, ranges, (), form)
        yield form.name, quantize_static(model, ranges, recipe, layers=layers, form=form)
    yield "elementwise, signed activations", _other(model, ranges, signed=True)
    yield "elementwise, QOperator", _other(model, ranges, signed=False)


def _other(model: onnx.ModelProto, ranges: Ranges, *, signed: bool) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    extremes = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    seen = TensorsData(CalibrationMethod.MinMax, extremes)
    with quiet():
        if signed:
            options = {"ActivationSymmetric": True}
            quantizer: Any = QDQQuantizer(
                copy, True, False, QuantType.QInt8, QuantType.QInt8, seen, [], [], list(ELEMENTWISE), options
            )
        else:
            known = [one for one in ELEMENTWISE if one in QLinearOpsRegistry]
            mode, weights = QuantizationMode.QLinearOps, QuantType.QInt8
            quantizer = ONNXQuantizer(copy, True, False, mode, True, weights, QuantType.QUInt8, seen, [], [], known, {})
        quantizer.quantize_model()
    made: onnx.ModelProto = quantizer.model.model
    return made


@app.command(help=__doc__)
def main(
    models: Annotated[str, typer.Option(help="networks of torchvision")] = "resnet18,mobilenet_v2,efficientnet_b0",
    pixels: Annotated[int, typer.Option(min=32, help="height and width of the pictures")] = 224,
    rounds: Annotated[int, typer.Option(min=1, help="turns of each graph at batch 1; half as many at batch 8")] = 10,
) -> None:
    for name in models.split(","):
        spec = Noise(name, pixels)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "fp32.onnx"
            export_module(spec, spec.build(), file, atol=1e-2)  # noise through random weights grows
            console.print(table(spec, file, rounds))


def table(spec: Noise, file: Path, rounds: int) -> Table:
    """Times as fast as float32, and the error of the outputs, of each graph."""
    model = prepare(file)
    pictures = np.stack([given["image"] for given, _ in spec.dataset("train")])
    feeds = [{"image": part} for part in np.array_split(pictures, 4)]
    seen = observe(model, float_activations(model, ELEMENTWISE), feeds, histograms=False)
    ranges = {tensor: activation.range("minmax") for tensor, activation in seen.items()}
    made = {"float32": model, **dict(graphs(model, ranges))}
    sessions = {form: open_session(graph.SerializeToString()) for form, graph in made.items()}
    speeds: list[dict[str, str]] = []
    for size, plan in ((1, Plan(rounds, 30.0)), (8, Plan((rounds + 1) // 2, 30.0))):
        feed = {"image": pictures[np.arange(size) % len(pictures)]}
        samples = measure({form: partial(one.run, None, feed) for form, one in sessions.items()}, plan)
        found = {form: ratio(samples["float32"], own) for form, own in samples.items()}
        speeds.append({form: f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})" for form, one in found.items()})
    other = {"image": np.stack([given["image"] for given, _ in spec.dataset("valid")])}
    answers = {form: {"score": one.run(None, other)[0]} for form, one in sessions.items()}
    shown = Table("form", "times as fast at batch 1", "at batch 8", "relative error", title=spec.name)
    for form in made:
        error = relative_error(answers["float32"], answers[form])
        shown.add_row(form, *(speed[form] for speed in speeds), f"{error:.3f}")
    return shown


if __name__ == "__main__":
    app()
