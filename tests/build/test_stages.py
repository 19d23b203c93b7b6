"""A build continues where it was interrupted, and makes again what a change reaches."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from lading.artifact import Artifact
from lading.build.collected import load_spec
from lading.build.stages import MADE_OF, Stage, read_record, require_measured
from lading.cli import app
from lading.errors import ArtifactError, SpecError
from tests.given.house import House

STAGES = {"export": "export", "quantize": "variants", "verify": "verify"}


class Ending(Console):
    """A console that ends the process where the heading of a stage would be."""

    def __init__(self, stage: str) -> None:
        super().__init__(file=io.StringIO(), width=200)
        self.stage = stage

    def rule(self, title: object = "", **_: object) -> None:
        if str(title).startswith(self.stage):
            raise KeyboardInterrupt(self.stage)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Interrupted before each stage, one after another, and then built."""
    house = House(tmp_path_factory.mktemp("built"))
    done: list[str] = []
    for stage in (*STAGES, "pack"):
        ending = Ending(stage)
        with pytest.raises(KeyboardInterrupt):
            house.build(console=ending)
        assert isinstance(ending.file, io.StringIO)
        told = ending.file.getvalue()
        assert [name for name in STAGES if f"{name}: reused because" in told] == done[:-1]
        assert not done or f"{done[-1]}: made now" in told
        assert ("house.safetensors: reused" in told) == bool(done)
        done.append(stage)
    return house


@pytest.fixture
def house(built: House, tmp_path: Path) -> House:
    mine = House(tmp_path)
    shutil.copytree(built.work, mine.work)
    return mine


def reused(told: str) -> list[str]:
    return [name for name in STAGES if f"{name}: reused because" in told]


def test_a_build_that_was_interrupted_runs_only_what_is_left(house: House) -> None:
    before = {name: (house.work / folder / MADE_OF).read_bytes() for name, folder in STAGES.items()}
    assert reused(house.build()) == list(STAGES)
    assert Artifact.load(house.folder / "artifact").manifest.chosen == "fp32"
    assert before == {name: (house.work / folder / MADE_OF).read_bytes() for name, folder in STAGES.items()}


def test_a_change_makes_its_stage_and_those_after_it_again(house: House) -> None:
    house.edit("house.py", "min_score=-100", "min_score=-90")
    told = house.build()
    assert reused(told) == ["export", "quantize"]
    assert "verify: stale: budget.min_score -100.0 -> -90.0; made again" in told
    assert reused(house.build()) == list(STAGES)


def test_a_graph_that_was_edited_or_is_gone_is_made_again(house: House) -> None:
    (house.work / "export" / "fp32.onnx").write_bytes(b"edited")
    assert "export: stale: fp32.onnx was changed after it was made" in house.build()
    (house.work / "variants" / "fp32.onnx").unlink()
    assert "quantize: stale: fp32.onnx is gone; made again" in house.build()


@pytest.mark.parametrize("stage", STAGES)
def test_every_recorded_fact_of_a_stage_makes_it_again(stage: str, built: House) -> None:
    content = read_record(built.work / STAGES[stage])
    assert content is not None
    assert str(built.folder.parent) not in json.dumps(content)
    facts = content["made_of"]
    for name in facts:
        other = {"examples": 3} if name.endswith(" split") else "another"
        found = Stage(stage, built.work / STAGES[stage], {**facts, name: other}, "", "").changes()
        assert found, name
        assert found[0].startswith(name)


def test_times_of_another_machine_are_measured_again(house: House) -> None:
    file = house.work / "verify" / MADE_OF
    content = json.loads(file.read_text())
    content["made_of"]["machine.cpu"] = "another"
    file.write_text(json.dumps(content))
    told = house.build()
    assert reused(told) == ["export", "quantize"]
    assert "verify: stale: machine.cpu another -> " in told


def test_graphs_that_were_not_measured_are_not_packed(house: House) -> None:
    require_measured(house.work / "variants", house.work / "verify")
    (house.work / "variants" / "fp32.onnx").write_bytes(b"made again")
    with pytest.raises(ArtifactError, match=r"graph fp32\.onnx has changed\. Run `lading verify` again"):
        require_measured(house.work / "variants", house.work / "verify")


def test_export_and_prune_make_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path)
    monkeypatch.chdir(house.folder)
    for command in ("export", "prune"):
        result = CliRunner().invoke(app, [command, house.target])
        assert isinstance(result.exception, SpecError)
        assert f"`lading train {house.target} --out build/house/train` makes them" in str(result.exception)
    assert not (house.folder / "build").exists()


def test_export_tells_how_a_missing_pruned_checkpoint_is_made(
    house: House, built: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(house.folder)
    spec = load_spec(house.target)
    pruned = spec.variants[0].model_copy(update={"name": "pruned30", "pruning": 0.3, "required": False})
    monkeypatch.setattr(type(spec), "variants", (*spec.variants, pruned))
    weights = built.work / "train" / "house.safetensors"
    before = weights.read_bytes()
    result = CliRunner().invoke(app, ["export", house.target, "--checkpoint", str(weights)])
    assert f"`lading prune {house.target} --share 0.3 --checkpoint {weights} --out build/house/prune` makes it" in str(
        result.exception
    )
    assert weights.read_bytes() == before
    assert not (house.folder / "build" / "house").exists()
