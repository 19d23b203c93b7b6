"""Weights are used again only for what they were made of, and every build says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lading.build.collected import load_spec
from lading.build.facts import data_facts
from lading.build.fingerprint import FIRST, Fingerprint, fingerprint_of
from lading.build.own_source import source_digests
from lading.build.train.checkpoint import RunCard, card_file, read_card
from lading.build.train.made_of import GROUPS, changed
from lading.errors import CheckpointError, OccupiedError, SpecError
from lading.spec import Example
from tests.given.house import House

WEIGHTS = "train/house.safetensors"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Trained once. Tests that change something copy it."""
    house = House(tmp_path_factory.mktemp("trained"))
    house.find()
    return house


@pytest.fixture
def house(trained: House, tmp_path: Path) -> House:
    mine = House(tmp_path)
    shutil.copytree(trained.work, mine.work)
    return mine


def card_of(house: House) -> RunCard:
    card = read_card(house.work / WEIGHTS)
    assert card is not None
    return card


def test_weights_are_trained_once_wherever_the_folder_is(house: House) -> None:
    before = (house.work / WEIGHTS).stat().st_mtime_ns
    assert "house.safetensors: reused because" in house.find()
    assert (house.work / WEIGHTS).stat().st_mtime_ns == before
    assert str(house.folder.parent) not in str(card_of(house).made_of)


def _other_rows(house: House) -> None:
    rows = np.load(house.folder / "rows.npy")
    rows[17, 4] += 1.0
    np.save(house.folder / "rows.npy", rows)


def _fewer_others(house: House) -> None:
    np.save(house.folder / "others.npy", np.load(house.folder / "others.npy")[:20])


CHANGES: dict[str, tuple[Callable[[House], object], tuple[str, ...], str]] = {
    "the model's file": (
        lambda house: house.edit("house.py", "mse_loss", "l1_loss"),
        (),
        "house.py has changed",
    ),
    "a module that it imports": (
        lambda house: house.edit("layers.py", "nn.ReLU()", "nn.Tanh()"),
        (),
        "layers.py has changed",
    ),
    "an option": (lambda _: None, ("optimizer.lr=0.02",), "optimizer.lr 0.003 -> 0.02"),
    "an option of the model": (lambda _: None, ("model.width=8",), "model.width 16 -> 8"),
    "one training example": (_other_rows, (), "train split has changed"),
    "the number of validation examples": (_fewer_others, (), "valid split has 20 examples, not 24"),
    "the initial weights": (
        lambda house: shutil.copy(house.work / WEIGHTS, house.folder / "start.safetensors"),
        ("init={folder}/start.safetensors",),
        "initial weights null -> ",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_weights_are_made_of_makes_them_again_when_it_changes(what: str, house: House) -> None:
    change, words, sentence = CHANGES[what]
    change(house)
    before, written = (house.work / WEIGHTS).read_bytes(), (house.work / WEIGHTS).stat().st_mtime_ns
    words = tuple(word.format(folder=house.folder) for word in words)
    told = house.find(*words)
    assert f"stale: {sentence}" in told
    assert "house.safetensors: fresh" in told
    assert (house.work / WEIGHTS).stat().st_mtime_ns > written
    assert (house.work / "train" / "house.before.safetensors").read_bytes() == before
    assert "reused" in house.find(*words), "and then it is fresh"


def test_every_recorded_fact_is_compared(trained: House) -> None:
    record = card_of(trained).made_of
    assert set(record) == set(GROUPS)
    assert changed(record, record) == []
    for group in GROUPS:
        assert record[group]
        for name in record[group]:
            other = {**record, group: {**record[group], name: "another"}}
            if group == "data":
                other[group][name] = data_facts({"x": Fingerprint(examples=1)})["x split"]
            assert [entry for entry in changed(record, other) if entry.startswith(name)], name
            gone = {**record, group: {key: value for key, value in record[group].items() if key != name}}
            assert [entry for entry in changed(record, gone) if entry.startswith(name)], name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Prices of houses."""', '"""Prices."""\n# a comment'),
        ("Budget(min_score=-100)", "Budget(min_score=-50)"),
        ('Variant(name="fp32", required=True),', 'Variant(name="fp32"),'),
    ],
)
def test_what_training_does_not_read_keeps_the_weights(old: str, new: str, house: House) -> None:
    house.edit("house.py", old, new)
    assert "reused" in house.find("trainer.threads=2", "data.prefetch=1")


@pytest.fixture
def pruning(house: House) -> House:
    house.edit("house.py", "required=True),", 'required=True), Variant(name="pruned30", pruning=0.3))  # ')
    house.find("prune.max_epochs=1", "prune.round_to=1")
    return house


@pytest.mark.parametrize(
    ("word", "sentence"),
    [("prune.lr=0.1", "stale: prune.lr 0.001 -> 0.1"), ("optimizer.lr=0.1", "stale: initial weights ")],
)
def test_pruned_weights_are_used_again_for_the_same_weights_and_options(
    word: str, sentence: str, pruning: House
) -> None:
    pruned = ("prune.max_epochs=1", "prune.round_to=1")
    assert pruning.find(*pruned).count("reused because") == 2
    told = pruning.find(*pruned, word)
    assert f"house-pruned30.safetensors: {sentence}" in told
    assert told.count("fresh") == (1 if word.startswith("prune") else 2)


def test_weights_without_a_record_are_not_lost(house: House) -> None:
    card_file(house.work / WEIGHTS).unlink()
    before = (house.work / WEIGHTS).read_bytes()
    with pytest.raises(OccupiedError, match="Lading did not write it"):
        house.find()
    assert (house.work / WEIGHTS).read_bytes() == before


def test_a_record_of_other_weights_is_no_record(house: House) -> None:
    (house.work / WEIGHTS).write_bytes(b"half of it")
    assert "stale" in house.find()


def test_weights_that_a_user_names_are_used_and_told_apart(house: House) -> None:
    theirs = house.folder / "theirs.safetensors"
    shutil.copy(house.work / WEIGHTS, theirs)
    assert "no record of what it was made of" in house.find(checkpoint=theirs)
    shutil.copy(card_file(house.work / WEIGHTS), card_file(theirs))
    assert "optimizer" not in house.find(checkpoint=theirs)
    _other_rows(house)
    told = house.find(checkpoint=theirs)
    assert "used as given; stale: " in told
    assert "train split has changed" in told
    assert "trainer.max_epochs 2 -> 20" in told, "the default of today"
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        house.find(checkpoint=house.folder / "nowhere.safetensors")


def test_an_option_without_effect_is_refused(house: House) -> None:
    with pytest.raises(SpecError, match=r"prune\.lr=1 would have no effect: no variant of house is pruned"):
        house.find("prune.lr=1")
    shutil.copy(house.work / WEIGHTS, house.folder / "house.safetensors")
    for word in ("optimizer.lr=0.1", "optimizer={lr: 0.1}", "model.width=8", "seed=0", "++trainer.max_epochs=3"):
        with pytest.raises(SpecError, match=r"would have no effect: the weights .* are used as they are"):
            house.find(word, checkpoint=house.work / WEIGHTS)
    with pytest.raises(SpecError, match=r"trainer.max_epochs=2 data.batch_size=16 would have no effect"):
        house.find()  # the reference next to the model
    house.find("data.workers=0", "trainer.threads=1", "logger.wandb=false", checkpoint=house.work / WEIGHTS)


def test_an_interrupted_training_is_resumed_only_for_the_same(tmp_path: Path) -> None:
    house = House(tmp_path)
    (house.folder / "stop").touch()
    with pytest.raises(SpecError, match="stopped while it trains"):
        house.find()
    (house.folder / "stop").unlink()
    shutil.copytree(house.work, tmp_path / "kept")
    assert "resuming the interrupted run" in house.find()
    assert "reused" in house.find()
    shutil.rmtree(house.work)
    shutil.copytree(tmp_path / "kept", house.work)
    assert "resuming" not in house.find("optimizer.lr=0.02")


class Rows:
    """A data set in memory that counts how often it is read."""

    def __init__(self, examples: list[Example]) -> None:
        self.examples, self.read = examples, 0

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        self.read += 1
        return self.examples[index]


class Drawn(Rows):
    """Every look gives another example."""

    def __getitem__(self, index: int) -> Example:
        return {"x": np.random.default_rng().normal(size=3)}, {}


class Named(Drawn):
    fingerprint = "version 1"


class Broken(Rows):
    def __getitem__(self, index: int) -> Example:
        raise OSError("the disk is gone")


def rows(count: int) -> list[Example]:
    return [({"x": np.full(3, index, np.float32)}, {"y": np.asarray(index)}) for index in range(count)]


def test_a_fingerprint_reads_few_examples_when_time_is_short() -> None:
    data = Rows(rows(10_000))
    short = fingerprint_of(data, seconds=0.0)
    assert list(short.digests) == [FIRST]
    assert data.read <= FIRST + 2
    whole = fingerprint_of(rows(10_000), seconds=60.0)
    assert max(whole.digests) == 10_000
    assert whole.change_from(short) is None, "a slower machine sees the same data"


@pytest.mark.parametrize("index", [0, 5, 99])
def test_a_fingerprint_sees_each_example_of_a_small_data_set(index: int) -> None:
    data = rows(100)
    before = fingerprint_of(data, seconds=60.0)
    data[index] = ({"x": np.zeros(3, np.float64)}, {"y": np.asarray(-1)})
    assert fingerprint_of(data, seconds=60.0).change_from(before) == "has changed"


def test_data_that_cannot_be_compared_never_counts_as_the_same() -> None:
    for data, why in ((Drawn(rows(3)), "differs each time"), (Broken(rows(3)), "the disk is gone")):
        taken = fingerprint_of(data)
        assert why in str(taken.change_from(taken))
    taken = fingerprint_of(Named(rows(3)))
    assert taken.change_from(taken) is None


def test_packages_of_another_environment_and_an_endless_sum_are_no_obstacle(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "other" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "elsewhere.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(packages))
    libraries = tmp_path / "vendored"  # as `pip install --target` leaves it
    (libraries / "vast-1.0.dist-info").mkdir(parents=True)
    (libraries / "vast.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(libraries))
    (house.folder / "sums.py").write_text("total = " + " + ".join(["1"] * 5000) + "\n")
    file = house.folder / "house.py"
    file.write_text(file.read_text() + "\n\ndef late():\n    import elsewhere\n    import vast\n    import sums\n")
    digests = source_digests(load_spec(house.target))
    assert "sums.py" in digests
    assert not any("elsewhere" in name or "vast" in name for name in digests)
