"""Channels are removed for real, and the answer still comes out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v3_small

from lading.build.channels import count_macs, remove_channels
from lading.build.export.export import export_module
from lading.build.prune import prune
from lading.build.train.checkpoint import load_checkpoint, new_card, save_checkpoint
from lading.build.train.config import compose
from lading.build.train.train import train
from lading.errors import SpecError
from lading.spec import Example, TensorSpec
from tests.given.tiny import ColourNet, TinyImage


class SqueezeNet(nn.Module):
    """What makes MobileNets hard to prune, small: a depthwise convolution, a gate on channels, and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 3, stride=2, padding=1)
        self.expand = nn.Sequential(nn.Conv2d(24, 48, 1, bias=False), nn.BatchNorm2d(48), nn.Hardswish())
        self.depthwise = nn.Sequential(nn.Conv2d(48, 48, 3, padding=1, groups=48), nn.BatchNorm2d(48))
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(48, 16, 1), nn.ReLU(), nn.Conv2d(16, 48, 1))
        self.project = nn.Conv2d(48, 24, 1)
        self.colour, self.shade = nn.Linear(24, 3), nn.Linear(24, 2)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        stem = self.stem(image.permute(0, 3, 1, 2).float() / 255)
        wide = self.depthwise(self.expand(stem))
        joined = stem + self.project(wide * self.gate(wide).sigmoid())
        features = joined.mean((2, 3))
        return self.colour(features).softmax(1), self.shade(features).softmax(1)


class Squeeze(TinyImage):
    name = "squeeze"

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        return SqueezeNet()


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_at_least_the_asked_share_of_the_work_is_gone_and_heads_are_whole(share: float) -> None:
    spec = Squeeze()
    module = spec.build()
    before = count_macs(spec, module)
    remove_channels(spec, module, share, round_to=2)
    assert isinstance(module, SqueezeNet)
    assert (module.colour.out_features, module.shade.out_features) == (3, 2)
    assert module.stem.in_channels == 3
    assert 0.2 * before < count_macs(spec, module) <= (1 - share) * before


def test_a_pruned_module_is_saved_loaded_and_exported_like_any_other(tmp_path: Path) -> None:
    spec = Squeeze()
    module = spec.build().eval()
    remove_channels(spec, module, 0.4, round_to=2)
    path = save_checkpoint(tmp_path / "squeeze.safetensors", module, new_card(spec, module))
    loaded, _ = load_checkpoint(spec, path)
    pixels = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    assert all(torch.equal(one, other) for one, other in zip(loaded(pixels), module(pixels), strict=True))
    assert export_module(spec, loaded, tmp_path / "squeeze.onnx").max_difference < 1e-4


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = mobilenet_v3_small(weights=None, num_classes=3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        probabilities: torch.Tensor = self.network(image.permute(0, 3, 1, 2).float() / 255).softmax(1)
        return probabilities


class Mobile(TinyImage):
    inputs = (TensorSpec(name="image", dtype="uint8", shape=("batch", 32, 32, 3), content="image"),)
    outputs = (TinyImage.outputs[0],)

    def build(self) -> nn.Module:
        return MobileNet()

    def dataset(self, _split: str) -> list[Example]:
        pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        return [({"image": pixels}, {"colour": np.asarray(0)})]


@pytest.mark.slow
def test_mobilenet_v3_is_pruned_saved_and_loaded(tmp_path: Path) -> None:
    spec = Mobile()
    module = spec.build().eval()
    before = count_macs(spec, module)
    remove_channels(spec, module, 0.3, round_to=8)
    assert count_macs(spec, module) <= 0.7 * before
    depthwise = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1]
    assert len(depthwise) == 11
    assert all(layer.groups == layer.in_channels == layer.out_channels for layer in depthwise)
    path = save_checkpoint(tmp_path / "mobile.safetensors", module, new_card(spec, module))
    loaded, _ = load_checkpoint(spec, path)
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    assert torch.equal(loaded(pixels), module(pixels))


def test_protected_layers_keep_their_channels() -> None:
    class Protected(Squeeze):
        prune_protect = ("expand",)

    spec = Protected()
    module = spec.build()
    remove_channels(spec, module, 0.1, round_to=2)
    assert isinstance(module, SqueezeNet)
    convolution = module.expand[0]
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.out_channels == 48
    assert module.stem.out_channels < 24


def test_a_share_that_cannot_be_reached_says_how_far_it_got() -> None:
    spec = Squeeze()
    with pytest.raises(SpecError, match=r"only \d+% of the multiply-accumulates can be removed, but 99%"):
        remove_channels(spec, spec.build(), 0.99, round_to=8)


def test_an_unknown_protected_name_is_refused() -> None:
    class Misspelt(Squeeze):
        prune_protect = ("expland",)

    with pytest.raises(SpecError, match="prune_protect names 'expland'"):
        remove_channels(Misspelt(), Misspelt().build(), 0.1)


def test_pruning_ends_in_a_fine_tuned_checkpoint_that_says_what_was_removed(tmp_path: Path) -> None:
    spec = Squeeze()
    module = spec.build()
    dense = save_checkpoint(tmp_path / "squeeze.safetensors", module, new_card(spec, module))
    config = compose(
        "tests/given/tiny.py:TinyImage",
        ["data.workers=0", "trainer.progress=false", "logger.wandb=false", "prune.max_epochs=1", "prune.round_to=2"],
    )
    path = prune(spec, 0.3, dense, config, tmp_path / "out")
    assert path.name == "squeeze-pruned30.safetensors"
    pruned, card = load_checkpoint(spec, path)
    assert card.pruning == 0.3
    assert card.macs == count_macs(spec, pruned)
    assert card.metrics["macs removed"] >= 0.3
    state: Mapping[str, torch.Tensor] = module.state_dict()
    assert any(pruned.state_dict()[name].shape != tensor.shape for name, tensor in state.items())


class Optioned(TinyImage):
    def __init__(self, deep: bool = False) -> None:
        self.deep = deep

    def build(self) -> nn.Module:
        module = ColourNet()
        if self.deep:
            module.features.insert(5, nn.Conv2d(16, 16, 1))
        return module


def test_a_pruned_checkpoint_remembers_the_options_of_the_one_it_came_from(tmp_path: Path) -> None:
    quick = ["data.workers=0", "trainer.progress=false", "logger.wandb=false", "trainer.max_epochs=1"]
    config = compose("tests/given/tiny.py:TinyImage", [*quick, "+model.deep=true"])
    dense = train(Optioned(), config, tmp_path / "dense")
    plain = compose(
        "tests/given/tiny.py:TinyImage", [*quick, "+model.deep=false", "prune.max_epochs=1", "prune.round_to=2"]
    )
    pruned, card = load_checkpoint(Optioned(), prune(Optioned(), 0.2, dense, plain, tmp_path / "pruned"))
    assert card.config["model"] == {"deep": True}
    assert isinstance(pruned, ColourNet)
    assert isinstance(pruned.features[5], nn.Conv2d)
