"""The mean of two checkpoints: what it is made of, how its share is chosen, and what it says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from lading.build.train.average import app, mean_of
from lading.build.train.checkpoint import load_checkpoint, new_card, read_card, save_checkpoint
from lading.errors import CheckpointError
from tests.given.tiny import ColourNet, TinyImage, fit


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A trained one and an untrained one."""
    folder, spec = tmp_path_factory.mktemp("average"), TinyImage()
    torch.manual_seed(3)
    modules = {"trained": fit(spec), "fresh": spec.build()}
    paths = [
        save_checkpoint(folder / f"{name}.safetensors", module, new_card(spec, module, run_id=name))
        for name, module in modules.items()
    ]
    return paths[0], paths[1]


def test_a_mean_lies_between_its_two_weights_and_statistics(checkpoints: tuple[Path, Path]) -> None:
    spec = TinyImage()
    first, second = (load_checkpoint(spec, path)[0].state_dict() for path in checkpoints)
    mean = mean_of(spec, *checkpoints, 0.25).state_dict()
    for name in ("colour.weight", "features.1.running_mean"):
        torch.testing.assert_close(mean[name], 0.75 * first[name] + 0.25 * second[name])
    assert torch.equal(mean["features.1.num_batches_tracked"], first["features.1.num_batches_tracked"])


class BrighterNet(ColourNet):
    gain = 1.0


class Brighter(TinyImage):
    """Takes an option."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def build(self) -> BrighterNet:
        module = BrighterNet()
        module.gain = self.gain
        return module


def test_a_mean_is_built_with_the_options_of_the_second_run(tmp_path: Path) -> None:
    spec = Brighter()
    first, second = (
        save_checkpoint(tmp_path / f"{gain}.safetensors", spec.build(), new_card(spec, spec.build(), config=config))
        for gain, config in ((1.0, {}), (2.0, {"model": {"gain": 2.0}}))
    )
    means = mean_of(spec, first, second, 0.5), mean_of(spec, second, first, 0.5)
    assert [mean.gain for mean in means] == [2.0, 1.0]


def test_the_share_with_the_best_validation_score_is_kept_with_both_runs_on_record(
    checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    arguments = ["tests/given/tiny.py:TinyImage", *map(str, checkpoints), "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    path = tmp_path / "tiny-image.safetensors"
    card = read_card(path)
    assert card is not None
    assert card.parent == read_card(checkpoints[0])
    assert card.config["averaged_with"]["run_id"] == "fresh"
    assert {"command", "data_fingerprint"} <= card.config["averaged_with"].keys()
    assert card.config["averaged_with"]["share"] < 0.5
    module, _ = load_checkpoint(TinyImage(), path)
    expected = mean_of(TinyImage(), *checkpoints, card.config["averaged_with"]["share"]).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in module.state_dict().items())
    assert {"valid/score", "test/accuracy"} <= card.metrics.keys()
    assert result.output.count("\n") > 11


def test_a_share_that_was_chosen_elsewhere_is_taken(checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    arguments = ["tests/given/tiny.py:TinyImage", *map(str, checkpoints), "--out", str(tmp_path), "--share", "0.5"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    card = read_card(tmp_path / "tiny-image.safetensors")
    assert card is not None
    assert card.config["averaged_with"]["share"] == 0.5


def test_checkpoints_of_other_shapes_have_no_mean(checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    narrow = ColourNet(channels=8)
    other = save_checkpoint(tmp_path / "narrow.safetensors", narrow, new_card(TinyImage(), narrow))
    with pytest.raises(CheckpointError, match=r"narrow\.safetensors cannot be averaged with .*: 'features\.0\.weight'"):
        mean_of(TinyImage(), checkpoints[0], other, 0.5)
