"""A network whose channels differ by orders of magnitude is not lost to int8."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from lading.build.examples import open_graph
from lading.build.export.export import export_module
from lading.build.quantize.calibration import float_activations, observe
from lading.build.quantize.equalize import equalized
from lading.build.quantize.quantize import quantize
from lading.build.quantize.static_int8 import ELEMENTWISE, FORMS, Form, prepare, quantizable_layers, quantize_static
from lading.build.records import read_variants
from lading.spec import Array, Quantization, Variant
from lading.tensors.agreement import relative_error
from tests.given.exported import lay_out
from tests.given.tiny import TinyImage, fit


class Uneven(nn.Module):
    """Two depthwise convolutions and one in groups, whose channels differ by up to ten thousand times. Its answers
    are those of an even network."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, 1, 1, groups=16),
            nn.LeakyReLU(),
            nn.Conv2d(16, 32, 1),
            nn.ReLU(),
            nn.Conv2d(32, 16, 3, 1, 1, groups=4, bias=False),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 16, 3, 1, 1),
            nn.Hardswish(),
            nn.Conv2d(16, 16, 1),
        )
        self.colour, self.shade = nn.Linear(16, 3), nn.Linear(16, 2)

    def unbalance(self) -> Uneven:
        """Multiply channels, and divide the weights that read them."""
        random = torch.Generator().manual_seed(0)
        layers = [layer for layer in self.convolutions if isinstance(layer, nn.Conv2d)]
        with torch.no_grad():
            for first, second in pairwise(layers[:-1]):
                factor = torch.exp(3 * torch.randn(first.out_channels, generator=random))
                first.weight *= factor[:, None, None, None]
                if first.bias is not None:
                    first.bias *= factor
                grouped = factor.view(second.groups, 1, -1).expand(-1, second.out_channels // second.groups, -1)
                second.weight /= grouped.reshape(second.out_channels, -1)[:, :, None, None]
        return self

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = image.permute(0, 3, 1, 2).float() / 255 - 0.5
        features = self.convolutions(pixels).mean((2, 3))
        return self.colour(features).softmax(1), self.shade(features).softmax(1)


class UnevenImage(TinyImage):
    variants = (Variant(name="int8", max_score_drop=0.05, quantization=Quantization(method="static", form="all")),)

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        return Uneven()


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec, file = UnevenImage(), tmp_path_factory.mktemp("uneven") / "fp32.onnx"
    module = fit(spec, steps=150)
    assert isinstance(module, Uneven)
    export_module(spec, module.unbalance().eval(), file)
    return file


def pixels() -> dict[str, Array]:
    return {"image": np.stack([given["image"] for given, _ in UnevenImage().dataset("train")])}


def answers(model: onnx.ModelProto) -> dict[str, Array]:
    return dict(zip(("colour", "shade"), open_graph(model).run(None, pixels()), strict=True))


def loss_of_int8(model: onnx.ModelProto, form: Form) -> float:
    seen = observe(model, float_activations(model, ELEMENTWISE), [pixels()], histograms=False)
    ranges = {name: activation.range("minmax") for name, activation in seen.items()}
    layers = quantizable_layers(model, ranges, (), form)
    made = quantize_static(model, ranges, Quantization(method="static"), layers=layers, form=form)
    return relative_error(answers(model), answers(made))


def test_the_answers_stay_as_they_are(uneven: Path) -> None:
    model = prepare(uneven)
    before = model.SerializeToString(deterministic=True)
    made = equalized(model)
    assert made is not None
    assert relative_error(answers(model), answers(made)) < 1e-5
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_int8_loses_little_once_channels_have_like_ranges(form: Form, uneven: Path) -> None:
    model = prepare(uneven)
    made = equalized(model)
    assert made is not None
    assert loss_of_int8(made, form) < 0.05 < loss_of_int8(model, form)


def test_doing_it_again_gains_nothing(uneven: Path) -> None:
    made = equalized(prepare(uneven))
    assert made is not None
    assert equalized(made) is None


def test_a_graph_without_such_pairs_stays(tiny_onnx: Path) -> None:
    assert equalized(prepare(tiny_onnx)) is not None
    assert (
        equalized(
            onnx.parser.parse_model(
                '<ir_version: 9, opset_import: ["": 20]> g (float[n] x) => (float[n] y) { y = Relu (x) }'
            )
        )
        is None
    )


def test_a_build_equalizes_what_it_would_lose_and_says_so(uneven: Path, tmp_path: Path) -> None:
    (entry,) = read_variants(quantize(UnevenImage(), lay_out(uneven, tmp_path / "export"), tmp_path / "variants"))
    assert entry.problem is None
    assert entry.details["equalized"]
    assert "sensitivity" not in entry.details, "no layer had to return to float32"
    assert entry.details["layers"] == 8
