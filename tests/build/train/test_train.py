"""A training run: what it learns, what it leaves behind, and how it goes on."""

from __future__ import annotations

import csv
import shlex
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from lading.build.train.checkpoint import command_line, load_checkpoint, read_card
from lading.build.train.config import compose
from lading.build.train.module import evaluate
from lading.build.train.train import prepared, train, train_command
from lading.build.verify.scores import confusion_counts
from lading.errors import CheckpointError, DataError, DivergedError, SpecError
from lading.spec import Array, Dataset, Example
from tests.given.tiny import ColourNet, TinyImage

TARGET = "tests/given/tiny.py:TinyImage"
FAST = ["data.workers=0", "trainer.progress=false", "optimizer.lr=0.03", "data.batch_size=16", "trainer.threads=1"]


def composed(*overrides: str) -> DictConfig:
    return compose(TARGET, [*FAST, "logger.wandb=false", *overrides])


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(TinyImage(), composed("trainer.max_epochs=4"), folder)
    return folder


def rows(folder: Path, column: str) -> list[float]:
    with (folder / "metrics.csv").open() as stream:
        return [float(row[column]) for row in csv.DictReader(stream) if row.get(column)]


def test_the_loss_falls(run_folder: Path) -> None:
    losses = rows(run_folder, "valid/loss")
    assert losses[-1] < 0.8 * losses[0]


def test_the_run_leaves_its_configuration_metrics_and_confusion_behind(run_folder: Path) -> None:
    config = OmegaConf.load(run_folder / "config.yaml")
    assert config.trainer.max_epochs == 4
    assert config.target == TARGET
    assert (run_folder / "confusion-colour.png").read_bytes().startswith(b"\x89PNG")
    assert (run_folder / "confusion-shade.png").is_file()


def test_the_recorded_score_is_the_checkpoints_own(run_folder: Path) -> None:
    spec = TinyImage()
    module, card = load_checkpoint(spec, run_folder / "tiny-image.safetensors")
    outputs, targets = evaluate(spec, module, spec.dataset("test"))
    assert card.metrics["test/accuracy"] == pytest.approx(spec.score(outputs, targets))
    assert card.config["optimizer"]["lr"] == 0.03


def test_the_same_seed_gives_the_same_weights(run_folder: Path, tmp_path: Path) -> None:
    again = train(TinyImage(), composed("trainer.max_epochs=4"), tmp_path)
    assert again.read_bytes() == (run_folder / "tiny-image.safetensors").read_bytes()


class Interrupted(TinyImage):
    """Its training data fails in the third epoch, as a full disk or a lost mount would."""

    reads = 0

    def augment(self, inputs: Mapping[str, Array], _rng: np.random.Generator) -> Mapping[str, Array]:
        self.reads += 1
        if self.reads > 2 * 96:
            raise OSError("the disk is gone")
        return inputs


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        train(Interrupted(), composed("trainer.max_epochs=3"), tmp_path)
    assert not (tmp_path / "tiny-image.safetensors").exists()
    with pytest.raises(SpecError, match=r"is wrong: .*'max_epoch'"):
        train_command("", ["trainer.max_epoch=5"], out=None, resume=tmp_path)
    train_command("", [], out=None, resume=tmp_path)
    assert len(rows(tmp_path, "valid/score")) == 1
    assert (tmp_path / "metrics-1.csv").is_file()
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["epoch"] == 2
    assert state["global_step"] == 3 * 6
    assert (tmp_path / "tiny-image.safetensors").is_file()


def test_a_finished_run_may_be_given_more_epochs(tmp_path: Path) -> None:
    train(TinyImage(), composed("trainer.max_epochs=1"), tmp_path)
    train_command("", ["trainer.max_epochs=3"], out=None, resume=tmp_path)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["global_step"] == 3 * 6
    assert OmegaConf.load(tmp_path / "config.yaml").trainer.max_epochs == 3
    # The schedule ends where the longer run does.
    assert state["optimizer_states"][0]["param_groups"][0]["lr"] < 0.05 * 0.03


class Worsening(TinyImage):
    """Its second epoch is scored worse than its first."""

    scored = 0

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        self.scored += 1
        return {1: 0.9, 2: 0.1}.get(self.scored, super().score(outputs, targets))


def test_the_recorded_validation_score_is_the_kept_epochs_and_not_the_last(tmp_path: Path) -> None:
    path = train(Worsening(), composed("trainer.max_epochs=2"), tmp_path)
    card = read_card(path)
    assert card is not None
    assert card.metrics["valid/score"] == pytest.approx(0.9)
    first = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert first["epoch"] == 0
    module, _ = load_checkpoint(TinyImage(), path)
    assert torch.equal(module.state_dict()["colour.weight"], first["state_dict"]["module.colour.weight"])


def test_a_run_that_ends_inside_an_epoch_keeps_its_last_weights_where_they_are_better(tmp_path: Path) -> None:
    path = train(TinyImage(), composed("trainer.max_epochs=3", "trainer.max_steps=9"), tmp_path)
    module, card = load_checkpoint(TinyImage(), path)
    first, last = rows(tmp_path, "valid/score")
    assert last >= first
    assert card is not None
    assert card.metrics["valid/score"] == pytest.approx(last)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["global_step"] == 9
    assert torch.equal(module.state_dict()["colour.weight"], state["state_dict"]["module.colour.weight"])


def test_a_run_that_ends_inside_an_epoch_with_worse_weights_keeps_the_epochs(tmp_path: Path) -> None:
    path = train(Worsening(), composed("trainer.max_epochs=3", "trainer.max_steps=9"), tmp_path)
    card = read_card(path)
    assert card is not None
    assert card.metrics["valid/score"] == pytest.approx(0.9)
    module, _ = load_checkpoint(TinyImage(), path)
    epoch = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert epoch["global_step"] == 6
    assert torch.equal(module.state_dict()["colour.weight"], epoch["state_dict"]["module.colour.weight"])


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="holds no interrupted run"):
        train_command(TARGET, [], out=None, resume=tmp_path)


@pytest.mark.parametrize(
    ("model", "elsewhere", "message"),
    [
        (TARGET.rpartition(":")[0] + ":Another", None, "holds a run of .*, and not of .*:Another: give that model"),
        ("elsewhere.py:" + TARGET.rpartition(":")[2], None, "holds a run of .*, and not of elsewhere.py:"),
        (TARGET, "other", "--out other would have no effect: --resume goes on in"),
    ],
)
def test_what_a_resumed_run_would_ignore_is_refused(
    model: str, elsewhere: str | None, message: str, tmp_path: Path
) -> None:
    OmegaConf.save(composed(), tmp_path / "config.yaml")
    (tmp_path / "last.ckpt").write_bytes(b"")
    out = None if elsewhere is None else Path(elsewhere)
    with pytest.raises(SpecError, match=message):
        train_command(model, [], out=out, resume=tmp_path)


def test_a_loss_that_is_not_a_number_ends_the_run_and_leaves_no_weights(tmp_path: Path) -> None:
    config = composed("optimizer.lr=1e30", "trainer.max_epochs=3")
    with pytest.raises(DivergedError, match=r"the loss is NaN at the end of epoch \d, .* optimizer\.lr, which is 1e"):
        train(TinyImage(), config, tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


class Mislabelled(TinyImage):
    """One label in the middle of the split is no class."""

    def dataset(self, split: str) -> list[Example]:
        examples = super().dataset(split)
        given, targets = examples[len(examples) // 2]
        examples[len(examples) // 2] = (given, {**targets, "shade": np.array(7)})
        return examples

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return super().loss(outputs, targets)


def test_a_loss_that_fails_in_the_middle_of_a_run_is_told_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"test_train\.py:\d+: loss\(\) fails in epoch 1: \w+: .*7 is out of bounds"):
        train(Mislabelled(), composed("trainer.max_epochs=1"), tmp_path)


def test_a_score_that_stops_rising_stops_the_run(tmp_path: Path) -> None:
    config = composed("trainer.max_epochs=30", "trainer.patience=1", "optimizer.lr=0.0")
    train(TinyImage(), config, tmp_path)
    assert len(rows(tmp_path, "valid/score")) == 2


def test_a_run_may_start_from_another_runs_weights_and_says_so(run_folder: Path, tmp_path: Path) -> None:
    start = run_folder / "tiny-image.safetensors"
    path = train(TinyImage(), composed(f"init='{start}'", "optimizer.lr=0.0", "trainer.max_epochs=1"), tmp_path)
    (before, first), (after, second) = (load_checkpoint(TinyImage(), file) for file in (start, path))
    weights = dict(before.named_parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in after.named_parameters())
    assert second.parent == first


class Optioned(TinyImage):
    def __init__(self, deep: bool = False) -> None:
        self.deep = deep

    def build(self) -> torch.nn.Module:
        module = ColourNet()
        if self.deep:
            module.features.insert(5, torch.nn.Conv2d(16, 16, 1))
        return module


def test_weights_of_another_structure_are_refused_before_training(tmp_path: Path) -> None:
    start = train(Optioned(), composed("trainer.max_epochs=1", "+model.deep=true"), tmp_path / "deep")
    module, _ = load_checkpoint(Optioned(), start)
    assert isinstance(module, ColourNet)
    assert isinstance(module.features[5], torch.nn.Conv2d)
    with pytest.raises(CheckpointError, match=r"it has 'features\.5' inside the network"):
        train(Optioned(), composed(f"init='{start}'", "+model.deep=false"), tmp_path / "shallow")
    assert not (tmp_path / "shallow").exists()


@pytest.mark.parametrize("name", ["TinyGraph", "TinyTable"])
def test_graphs_and_tables_are_trained_as_pictures_are(name: str, tmp_path: Path) -> None:
    target = f"tests/given/tiny.py:{name}"
    overrides = [*FAST, "logger.wandb=false", "trainer.max_epochs=30", "trainer.patience=30"]
    train_command(target, overrides, out=tmp_path, resume=None)
    assert OmegaConf.load(tmp_path / "config.yaml") == compose(target, overrides)
    losses = rows(tmp_path, "train/loss")
    assert losses[-1] < 0.8 * losses[0]


def test_the_recorded_command_names_no_folder_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ["/opt/bin/lading", "train", "m.py:M", f"init={Path.cwd()}/runs/a b/m.safetensors", "--out", "runs/m"]
    monkeypatch.setattr(sys, "argv", typed)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    words = ["train", "m.py:M", "init=runs/a b/m.safetensors", "--out", "runs/m"]
    assert command_line() == shlex.join(["lading", *words])
    for name in ("lading", "lading.__main__"):
        monkeypatch.setattr(sys.modules["__main__"], "__spec__", ModuleSpec(name, None))
        assert command_line() == shlex.join(["python", "-m", "lading", *words])


def test_max_steps_ends_a_run_early(tmp_path: Path) -> None:
    path = train(TinyImage(), composed("trainer.max_epochs=3", "trainer.max_steps=4"), tmp_path)
    _, card = load_checkpoint(TinyImage(), path)
    assert card.metrics["valid/score"] == pytest.approx(rows(tmp_path, "valid/score")[0])
    assert "test/accuracy" in card.metrics


def test_a_run_of_no_steps_scores_the_weights_that_it_was_given(tmp_path: Path) -> None:
    begun = train(TinyImage(), composed("trainer.max_steps=4"), tmp_path / "begun")
    again = train(TinyImage(), composed("trainer.max_steps=0", f"init={begun}"), tmp_path / "scored")
    assert again.read_bytes() == begun.read_bytes()
    metrics = [load_checkpoint(TinyImage(), path)[1].metrics for path in (begun, again)]
    assert metrics[0] == metrics[1]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.learning_rate=1", "learning_rate"),
        ("model.backbone=resnet18", "backbone"),
        ("optimizer.lr", "optimizer.lr"),
    ],
)
def test_a_wrong_override_is_named(override: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        compose(TARGET, [override])


def test_a_models_experiment_file_is_laid_over_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "tiny-image.yaml").write_text("# @package _global_\noptimizer:\n  lr: 0.5\n")
    assert compose(TARGET, [], tmp_path).optimizer.lr == 0.5
    assert compose(TARGET, ["optimizer.lr=0.25"], tmp_path).optimizer.lr == 0.25


def test_the_cards_experiment_and_its_models_options_are_composed() -> None:
    config = compose("models/cards.py:Cards", ["model.backbone=resnet18"])
    assert config.model.backbone == "resnet18"
    assert config.model.data == "rendered"
    assert config.trainer.threads == 3


def test_a_split_is_prepared_once_and_an_empty_one_refused() -> None:
    class Kept(list):  # type: ignore[type-arg]
        asked = 0

        def prepare(self) -> None:
            self.asked += 1

    class Prepared(TinyImage):
        kept = Kept(TinyImage().dataset("train"))

        def dataset(self, split: str) -> Dataset:  # type: ignore[override]
            return self.kept if split == "train" else []

    spec = Prepared()
    assert prepared(spec, "train") is spec.kept
    assert spec.kept.asked == 1
    with pytest.raises(DataError, match="the valid split of tiny-image is empty"):
        prepared(spec, "valid")


def test_confusion_counts_pairs_of_true_and_predicted() -> None:
    counts = confusion_counts(np.array([0, 0, 2]), np.array([0, 1, 2]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
