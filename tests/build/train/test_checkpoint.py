"""Weights as safetensors, with the run that made them beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lading.build.train.checkpoint import (
    card_file,
    load_checkpoint,
    new_card,
    read_card,
    save_checkpoint,
    spec_of,
)
from lading.build.weights.shapes import fit_shapes
from lading.errors import CheckpointError, SpecError
from tests.given.tiny import ColourNet, TinyImage, fit


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    spec = TinyImage()
    module = fit(spec, steps=2)
    card = new_card(spec, module, command="lading train", metrics={"test/accuracy": 0.5}, run_id="abc")
    return save_checkpoint(tmp_path / "tiny.safetensors", module, card)


def test_weights_and_their_run_come_back(saved: Path) -> None:
    module, card = load_checkpoint(TinyImage(), saved)
    expected = fit(TinyImage(), steps=2)
    pixels = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    assert all(torch.equal(one, other) for one, other in zip(module(pixels), expected(pixels), strict=True))
    assert not module.training
    assert (card.command, card.metrics, card.run_id) == ("lading train", {"test/accuracy": 0.5}, "abc")
    assert card.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert "torch" in card.packages


def test_the_run_card_names_no_folder_of_this_machine(saved: Path) -> None:
    assert str(Path.home()) not in card_file(saved).read_text()
    assert str(saved.parent) not in card_file(saved).read_text()


def test_a_pruned_checkpoint_brings_its_own_shapes(tmp_path: Path) -> None:
    narrow = ColourNet(channels=8)
    path = save_checkpoint(tmp_path / "tiny.safetensors", narrow, new_card(TinyImage(), narrow, pruning=0.5))
    module, card = load_checkpoint(TinyImage(), path)
    assert isinstance(module, ColourNet)
    assert module.colour.in_features == 8
    assert card.pruning == 0.5
    pixels = torch.zeros((1, 16, 16, 3), dtype=torch.uint8)
    assert torch.equal(module(pixels)[0], narrow.eval()(pixels)[0])


def test_a_depthwise_convolution_keeps_one_channel_a_group() -> None:
    narrow, wide = (
        nn.Sequential(nn.Conv2d(3, width, 1), nn.Conv2d(width, width, 3, groups=width), nn.BatchNorm2d(width))
        for width in (4, 16)
    )
    fit_shapes(wide, narrow.state_dict())
    wide.load_state_dict(narrow.state_dict())
    depthwise = wide[1]
    assert isinstance(depthwise, nn.Conv2d)
    assert (depthwise.groups, depthwise.in_channels, depthwise.out_channels) == (4, 4, 4)
    picture = torch.rand(1, 3, 5, 5)
    assert torch.equal(wide.eval()(picture), narrow.eval()(picture))


def test_a_missing_checkpoint_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*`lading train` makes one"):
        load_checkpoint(TinyImage(), tmp_path / "none.safetensors")


def test_a_torn_checkpoint_is_refused_by_name(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=r"tiny\.safetensors cannot be read as safetensors"):
        load_checkpoint(TinyImage(), saved)


def test_a_torn_run_is_refused_by_name(saved: Path) -> None:
    card_file(saved).write_text("{")
    with pytest.raises(CheckpointError, match=r"tiny\.run\.json is not the record of a run"):
        load_checkpoint(TinyImage(), saved)


def test_weights_of_another_model_are_refused_with_the_tensors_name(tmp_path: Path) -> None:
    other = nn.Sequential(nn.Linear(2, 2))
    path = save_checkpoint(tmp_path / "other.safetensors", other, new_card(TinyImage(), other))
    with pytest.raises(CheckpointError, match=r"does not fit tiny-image: it lacks 'colour\.bias'"):
        load_checkpoint(TinyImage(), path)


def test_weights_without_a_run_still_load(saved: Path) -> None:
    card_file(saved).unlink()
    _, card = load_checkpoint(TinyImage(), saved)
    assert card.spec == "tiny-image"
    assert read_card(saved) is None


class Tied(TinyImage):
    """Two layers that share one weight, as embeddings and their decoder do."""

    def build(self) -> nn.Module:
        first, second = nn.Linear(3, 3), nn.Linear(3, 3)
        second.weight = first.weight
        return nn.Sequential(first, second)


def test_tied_weights_are_saved_and_come_back_tied(tmp_path: Path) -> None:
    module = Tied().build()
    path = save_checkpoint(tmp_path / "tied.safetensors", module, new_card(Tied(), module))
    loaded, _ = load_checkpoint(Tied(), path)
    assert isinstance(loaded, nn.Sequential)
    assert loaded[0].weight is loaded[1].weight
    row = torch.rand(1, 3)
    assert torch.equal(loaded(row), module(row))


def test_floats_are_stored_as_float32_and_integers_as_they_are(tmp_path: Path) -> None:
    module = nn.Linear(2, 2, dtype=torch.bfloat16)
    module.register_buffer("steps", torch.tensor(3))
    state = load_file(save_checkpoint(tmp_path / "half.safetensors", module, new_card(TinyImage(), module)))
    assert {name: tensor.dtype for name, tensor in state.items()} == {
        "bias": torch.float32,
        "steps": torch.int64,
        "weight": torch.float32,
    }


class Wide(TinyImage):
    def __init__(self, channels: int = 8) -> None:
        self.channels = channels

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, self.channels, 1), nn.GroupNorm(2, self.channels))


def test_a_layer_whose_shape_cannot_be_changed_is_named(tmp_path: Path) -> None:
    module = Wide(16).build()
    path = save_checkpoint(tmp_path / "wide.safetensors", module, new_card(Wide(16), module))
    with pytest.raises(CheckpointError, match=r"wide\.safetensors does not fit tiny-image: .*1\.(weight|bias)"):
        load_checkpoint(Wide(8), path)


def test_the_options_that_a_run_recorded_shape_the_module(tmp_path: Path) -> None:
    module = Wide(16).build()
    card = new_card(Wide(16), module, config={"model": {"channels": 16}})
    loaded, _ = load_checkpoint(Wide(8), save_checkpoint(tmp_path / "wide.safetensors", module, card))
    assert isinstance(loaded, nn.Sequential)
    assert isinstance(loaded[1], nn.GroupNorm)
    assert loaded[1].num_channels == 16


def test_an_option_that_the_model_does_not_take_is_named() -> None:
    with pytest.raises(SpecError, match="TinyImage takes no option 'backbone'; it takes: none"):
        spec_of(TinyImage(), {"backbone": "resnet18"})
