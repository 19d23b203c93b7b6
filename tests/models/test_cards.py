"""The cards model: its networks, its data behind one interface, and the reference checkpoints that lie beside it."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from lading.artifact import Artifact
from lading.build.train.checkpoint import read_card
from lading.build.train.config import compose
from lading.build.train.train import train
from lading.errors import DataError
from lading.import_string import load_spec
from lading.spec import Array, Dataset
from models.card_decks import RANKS, SUITS, RenderedDecks
from models.card_decks.misses import by_confusion, by_deck, by_layout, missed
from models.card_decks.style import sample_style
from models.cards import Backbone, CardNet, Cards
from tests.given.kaggle_tree import kaggle_tree

PICTURES = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class FewCards(Cards):
    """One deck a split."""

    def dataset(self, split: str) -> Dataset:
        return RenderedDecks(split, 106 if split == "train" else 8)


class SameCards(FewCards):
    """The same pictures in every epoch, so that few steps are enough to learn something."""

    def augment(self, inputs: Mapping[str, Array], _rng: np.random.Generator) -> Mapping[str, Array]:
        return inputs


@pytest.mark.parametrize("backbone", ["mobilenet_v3_small", "resnet18", "shufflenet_v2_x1_0"])
def test_every_backbone_answers_with_two_distributions(backbone: Backbone) -> None:
    with torch.inference_mode():
        suit, rank = Cards(backbone).build().eval()(PICTURES)
    assert (suit.shape, rank.shape) == ((2, len(SUITS)), (2, len(RANKS)))
    torch.testing.assert_close(suit.sum(1), torch.ones(2))
    torch.testing.assert_close(rank.sum(1), torch.ones(2))


def test_the_backbone_is_given_pictures_of_the_side_that_is_asked_for() -> None:
    module = Cards(side=256).build().eval()
    assert isinstance(module, CardNet)
    seen: list[torch.Size] = []
    module.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    with torch.inference_mode():
        module(PICTURES)
    assert seen == [(2, 3, 256, 256)]


def test_the_score_counts_pictures_with_both_suit_and_rank_right() -> None:
    suit, rank = np.eye(5)[[0, 1, 2, 3]], np.eye(14)[[0, 1, 2, 3]]
    targets = {"suit": np.array([0, 1, 2, 0]), "rank": np.array([0, 1, 0, 3])}
    assert Cards().score({"suit": suit, "rank": rank}, targets) == 0.5


def test_augmentation_changes_a_picture_and_nothing_else() -> None:
    inputs, _ = FewCards().dataset("train")[0]
    changed = Cards().augment(inputs, np.random.default_rng(0))
    assert changed.keys() == {"image"}
    assert changed["image"].shape == inputs["image"].shape
    assert not np.array_equal(changed["image"], inputs["image"])


def test_kaggles_pictures_stand_behind_the_same_interface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADING_DATA", str(tmp_path / "cache"))
    root = kaggle_tree(tmp_path / "kaggle", ["queen of spades"])
    spec = Cards(data="kaggle", root=str(root))
    _, targets = spec.dataset("test")[0]
    assert (SUITS[int(targets["suit"])], RANKS[int(targets["rank"])]) == ("spades", "queen")
    assert spec.test_splits == ("test",)
    with pytest.raises(DataError, match="is missing: the data set has the folders"):
        spec.dataset("test_in_style")


@pytest.mark.slow
def test_a_few_steps_on_a_tiny_rendered_set_make_the_loss_fall(tmp_path: Path) -> None:
    overrides = [
        "trainer.max_epochs=8",
        "trainer.patience=99",
        "data.batch_size=26",
        "data.workers=0",
        "trainer.threads=2",
    ]
    config = compose("models/cards.py:Cards", [*overrides, "logger.wandb=false", "trainer.progress=false"])
    train(SameCards(), config, tmp_path)
    with (tmp_path / "metrics.csv").open() as stream:
        losses = [float(row["train/loss"]) for row in csv.DictReader(stream) if row["train/loss"]]
    assert losses[-1] < losses[0] - 0.3, losses


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "share"), [("fp32", 0.0), ("pruned30", 0.3), ("pruned50", 0.5)])
def test_a_reference_checkpoint_reproduces_its_recorded_accuracy(
    variant: str, share: float, cards_artifact: Artifact
) -> None:
    manifest = cards_artifact.manifest
    measured = {one.variant.name: one.measurement for one in manifest.variants}
    measured |= {one.variant.name: one.measurement for one in manifest.refused}
    found, card = measured[variant], read_card(Cards().checkpoint(share))
    assert found is not None
    assert card is not None
    assert found.scores["test"] == pytest.approx(card.metrics["test/joint accuracy"], abs=0.003)


def test_the_misses_of_each_deck_are_counted_and_told() -> None:
    one_hot = {"suit": np.eye(5)[[0, 1, 2]], "rank": np.eye(14)[[0, 5, 5]]}
    targets = {"suit": np.array([0, 2, 2]), "rank": np.array([0, 5, 6])}
    wrong = missed(one_hot, targets)
    assert wrong == {1: "hearts, diamonds", 2: "seven, six"}
    table = by_deck(wrong | {106: "jack, queen"}, [sample_style(seed, held_out=True) for seed in range(3)])
    columns = [list(column.cells) for column in table.columns]
    assert (columns[0], columns[5]) == (["0", "1"], ["2", "1"])
    assert list(by_confusion(wrong).columns[1].cells) == ["1", "1"]


def test_layouts_of_number_cards_are_told_by_the_share_that_is_missed() -> None:
    standard, large = (
        dataclasses.replace(sample_style(0, held_out=True), layout=layout) for layout in ("standard", "large")
    )
    table = by_layout(dict.fromkeys([0, 105, 106, 212], "six, five"), [standard, large, standard])
    columns = [list(column.cells) for column in table.columns]
    assert columns == [["standard", "large"], ["2", "1"], ["3", "1"], ["0.014", "0.009"]]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_a_reference_checkpoint_lies_beside_the_model_with_its_run(share: float) -> None:
    spec = load_spec("models/cards.py:Cards")
    path = spec.checkpoint(share)
    card = read_card(path)
    assert card is not None
    assert path.stat().st_size <= 8 * 2**20
    assert (card.spec, card.pruning, card.git_dirty) == ("cards", share, False)
    assert card.command.startswith(("lading ", "python -m lading."))
    assert card.metrics["test/joint accuracy"] > (0.8 if share else 0.9)
    assert card.metrics.get("macs removed", 1.0) >= share
    assert "/tmp" not in path.with_suffix(".run.json").read_text()
