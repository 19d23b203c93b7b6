"""All stages in order, each on the files of the one before."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from lading.artifact import Artifact
from lading.build.build import build
from lading.build.checkpoints import find_checkpoints
from lading.build.train.checkpoint import new_card, save_checkpoint
from lading.errors import GateRefusedError
from lading.predictor import Predictor
from lading.spec import Budget, Variant
from tests.given.tiny import TinyImage, fit

TARGET = "tests/given/tiny.py:TinyImage"
FAST = ["data.workers=0", "trainer.max_epochs=1", "trainer.progress=false", "logger.wandb=false"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    module = fit(TinyImage())
    card = new_card(TinyImage(), module, run_id="abc", config={"optimizer": {"lr": 0.03}})
    return save_checkpoint(tmp_path_factory.mktemp("weights") / "tiny-image.safetensors", module, card)


def quiet() -> Console:
    return Console(file=io.StringIO(), width=120)


def test_a_checkpoint_becomes_an_artifact_that_answers(checkpoint: Path, tmp_path: Path) -> None:
    console = quiet()
    spec = TinyImage()
    out, work = tmp_path / "artifacts" / "tiny-image", tmp_path / "build"
    built = build(spec, TARGET, out=out, work=work, checkpoint=checkpoint, console=console)
    artifact = Artifact.load(out)
    assert artifact.digest == built.digest
    assert artifact.manifest.provenance.run_id == "abc"
    assert artifact.manifest.provenance.config["optimizer"] == {"lr": 0.03}
    inputs, targets = spec.dataset("test")[0]
    answer = Predictor(artifact)({"image": inputs["image"][None]})
    assert answer["colour"].argmax() == targets["colour"]
    assert (work / "verify" / "report.html").is_file()
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert [said.index(stage) for stage in ("checkpoints", "export", "quantize", "verify", "pack")] == sorted(
        said.index(stage) for stage in ("checkpoints", "export", "quantize", "verify", "pack")
    )


@pytest.mark.slow
def test_a_model_that_misses_its_budget_is_not_packed(checkpoint: Path, tmp_path: Path) -> None:
    class Demanding(TinyImage):
        budget = Budget(min_score=1.01)

    with pytest.raises(GateRefusedError, match="below the minimum of"):
        build(Demanding(), TARGET, out=tmp_path / "out", work=tmp_path, checkpoint=checkpoint, console=quiet())
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "verify" / "report.html").is_file()


def test_a_model_without_a_checkpoint_is_trained_once(tmp_path: Path) -> None:
    def find() -> dict[float, Path]:
        return find_checkpoints(
            TinyImage(), TARGET, work=tmp_path, checkpoint=None, overrides=FAST, problems={}, console=quiet()
        )

    first = find()
    written = first[0.0].stat().st_mtime_ns
    assert first == {0.0: tmp_path / "train" / "tiny-image.safetensors"}
    assert find()[0.0].stat().st_mtime_ns == written


@pytest.mark.slow
@pytest.mark.parametrize("with_run", [True, False])
def test_weights_are_pruned_once_and_other_weights_anew(with_run: bool, checkpoint: Path, tmp_path: Path) -> None:
    class Pruned(TinyImage):
        variants = (Variant(name="fp32"), Variant(name="pruned30", pruning=0.3))

    base = Path(shutil.copy2(checkpoint, tmp_path))
    if with_run:
        shutil.copy2(checkpoint.with_suffix(".run.json"), tmp_path)
    used = [word for word in FAST if not word.startswith("trainer.max_epochs")]
    overrides = [*used, "prune.max_epochs=1", "prune.round_to=1"]

    def prune() -> int:
        found = find_checkpoints(
            Pruned(),
            TARGET,
            work=tmp_path / "work",
            checkpoint=base,
            overrides=overrides,
            problems={},
            console=quiet(),
        )
        return found[0.3].stat().st_mtime_ns

    first = prune()
    assert prune() == first
    other = fit(Pruned(), steps=61)
    save_checkpoint(base, other, new_card(Pruned(), other, run_id="another"))
    if not with_run:
        base.with_suffix(".run.json").unlink()
    assert prune() > first
