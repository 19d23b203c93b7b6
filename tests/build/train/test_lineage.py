"""The bill names the runs that made the weights, back to the data, and what is not known about them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lading.artifact.manifest import LineageRun, Provenance
from lading.build.pack import provenance_of
from lading.build.train.average import write_mean
from lading.build.train.checkpoint import RunCard, card_file, new_card, read_card, save_checkpoint
from lading.build.train.config import compose
from lading.build.train.lineage import lineage
from lading.build.train.train import train
from lading.errors import CheckpointError
from tests.given.tiny import TinyImage

MODELS = Path(__file__).parents[3] / "models"
SHIPPED = sorted(MODELS.glob("*.safetensors"))
TARGET = "tests/given/tiny.py:TinyImage"
FAST = ["data.workers=0", "data.batch_size=16", "trainer.threads=1", "trainer.progress=false", "logger.wandb=false"]


def walked(source: Provenance) -> list[LineageRun]:
    """Every run that is reached from the checkpoint's own, after checks that hold for each."""
    reached, waiting = [], [0]
    while waiting:
        place = waiting.pop()
        run = source.runs[place]
        reached.append(place)
        waiting += [parent for parent in run.parents if parent not in reached]
        assert all(parent > place for parent in run.parents), "a run is before the runs that it started from"
        if run.kind == "score":
            assert (run.steps, run.data_fingerprint) == (0, None)
            assert run.weights == source.runs[run.parents[0]].weights, "scoring changes no weights"
        elif run.kind == "average":
            assert run.data_fingerprint is None
            assert len(run.parents) == 2
        else:
            assert run.steps != 0
            assert run.data_fingerprint or "the training data" in run.unknown
        if not run.parents:
            assert run.kind == "train"
    assert sorted(set(reached)) == list(range(len(source.runs)))
    return list(source.runs)


@pytest.mark.parametrize("checkpoint", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_checkpoint_leads_back_to_its_data(checkpoint: Path) -> None:
    source = provenance_of(checkpoint, "models/cards.py:Cards")
    runs = walked(source)
    assert runs[0].weights == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    first = [run for run in runs if not run.parents and not run.unknown[1:]]
    assert first, "the runs end at one that began with the data"
    assert all(run.data_fingerprint for run in runs if run.kind in ("train", "prune"))
    # The bill's own fields are those of a run that changed the weights.
    named = next(run for run in runs if run.run_id == source.run_id)
    assert named.kind in ("train", "prune")
    assert source.data_fingerprint == named.data_fingerprint
    assert source.config.get("trainer", {}).get("max_steps") != 0


def test_what_the_record_of_the_cards_model_lacks_is_said() -> None:
    runs = provenance_of(MODELS / "cards.safetensors", None).runs
    assert [run.kind for run in runs[:4]] == ["score", "average", "train", "average"]
    averaged = runs[runs[1].parents[1]]
    assert averaged.run_id == "fxaknzlf"
    assert averaged.options == {}, "they were not recorded, and are not made up"
    assert "the configuration, and so the weights that it started from" in averaged.unknown


def test_runs_that_train_average_and_score_are_told_apart(tmp_path: Path) -> None:
    spec = TinyImage()

    def run(name: str, *overrides: str) -> Path:
        return train(spec, compose(TARGET, [*FAST, *overrides]), tmp_path / name)

    first = run("first", "trainer.max_steps=2")
    second = run("second", f"init={first}", "trainer.max_steps=3")
    mean = write_mean(spec, (first, second), 0.5, 0.9, tmp_path / "mean")
    scored = run("scored", f"init={mean}", "trainer.max_steps=0")
    runs = walked(provenance_of(scored, TARGET))
    assert [(one.kind, one.steps, one.parents) for one in runs] == [
        ("score", 0, (1,)),
        ("average", None, (3, 2)),
        ("train", 3, (3,)),
        ("train", 2, ()),
    ]
    assert [one.share for one in runs] == [None, 0.5, None, None]
    assert all(one.weights for one in runs)
    assert not [one.unknown for one in runs if any("before" in words for words in one.unknown)]
    assert card_file(scored).stat().st_size < 5 * card_file(first).stat().st_size, "no run is written twice"


def card(**fields: Any) -> RunCard:
    known = {"command": "lading train", "steps": 5, "git_commit": "c" * 40, "git_dirty": False}
    known |= {"data_fingerprint": "d", "config": {"init": None}}
    return RunCard(**{"spec": "tiny", "parameters": 1, "created": "2026-01-01T00:00:00+00:00", **known, **fields})


UNKNOWN: dict[str, tuple[RunCard, str]] = {
    "nothing": (card(), ""),
    "uncommitted changes": (card(git_dirty=True), "the code: there were uncommitted changes"),
    "no commit": (card(git_commit=None), "the commit"),
    "no data": (card(data_fingerprint=None), "the training data"),
    "initial weights without a record": (
        card(config={"init": "old.safetensors"}),
        "the run before it (old.safetensors had no record)",
    ),
    "pruned weights without a record": (
        card(pruning=0.5, command="lading prune tiny.py:Tiny"),
        "the run before it (its initial weights had no record)",
    ),
    "no steps": (card(steps=None), "the number of optimizer steps"),
}


@pytest.mark.parametrize(("record", "words"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_a_record_lacks_is_named(record: RunCard, words: str) -> None:
    assert "; ".join(lineage(record)[0].unknown) == words


KINDS: dict[str, tuple[RunCard, str]] = {
    "from nothing": (card(), "train"),
    "fine-tuned": (card(parent=card()), "train"),
    "pruned": (card(pruning=0.5, parent=card()), "prune"),
    "pruned, then fine-tuned": (card(pruning=0.5, parent=card(pruning=0.5)), "train"),
    "scored": (card(steps=0, parent=card()), "score"),
    "scored, by an old record": (card(steps=None, config={"trainer": {"max_steps": 0}}, parent=card()), "score"),
    "averaged": (card(other=card(), parent=card()), "average"),
    "averaged, by an old record": (card(config={"averaged_with": {"command": "x", "share": 1}}), "average"),
}


@pytest.mark.parametrize(("record", "kind"), KINDS.values(), ids=KINDS)
def test_a_run_has_the_kind_of_what_it_did(record: RunCard, kind: str) -> None:
    assert lineage(record)[0].kind == kind


def swap(path: Path) -> None:
    module = TinyImage().build()
    other = save_checkpoint(path.with_name("other.safetensors"), module, new_card(TinyImage(), module))
    path.write_bytes(other.read_bytes())


def edit(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("change", [swap, edit])
def test_the_record_of_other_weights_is_refused(tmp_path: Path, change: Callable[[Path], None]) -> None:
    module = TinyImage().build()
    path = save_checkpoint(tmp_path / "tiny-image.safetensors", module, new_card(TinyImage(), module))
    assert provenance_of(path, TARGET).runs[0].weights == (read_card(path) or card()).weights
    change(path)
    with pytest.raises(CheckpointError, match="is the record of other weights"):
        provenance_of(path, TARGET)
