"""Weights come from a model registry, and the version gets the verdict of its build."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb
from mlflow import MlflowClient
from rich.console import Console

from lading.build.build import build
from lading.build.registry import Version, fetch_version, is_address, weights_among
from lading.build.train.checkpoint import new_card, read_card, save_checkpoint
from lading.errors import CheckpointError, GateRefusedError
from lading.spec import Budget, Variant
from tests.given.mlflow_server import mlflow_server
from tests.given.quick_verify import quick_verify
from tests.given.tiny import TinyImage, fit
from tests.given.wandb_server import WandbModel, wandb_server

ROOT = Path(__file__).parents[2]
TARGET = "tests/given/tiny.py:TinyImage"
ADDRESS = "wandb:team/lading/tiny-image:production"


class Plain(TinyImage):
    variants = (Variant(name="fp32", required=True),)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A trained checkpoint with its record, and a file that is not needed."""
    folder, module = tmp_path_factory.mktemp("weights"), fit(Plain())
    save_checkpoint(folder / "tiny-image.safetensors", module, new_card(Plain(), module, run_id="abc", steps=3))
    return {one.name: one.read_bytes() for one in folder.iterdir()} | {"last.ckpt": b"a pickle"}


@pytest.fixture
def model(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbModel]:
    """W&B's own client, logged in to a server on this machine."""
    with wandb_server(WandbModel(dict(files))) as served:
        monkeypatch.delenv("WANDB_MODE", raising=False)
        monkeypatch.setenv("WANDB_BASE_URL", served.url)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR", "WANDB_DIR"):
            monkeypatch.setenv(name, str(tmp_path / "wandb"))
        wandb.teardown()  # it keeps the settings of the first test
        yield served
        wandb.teardown()


def built(version: Version, tmp_path: Path, spec: TinyImage) -> str:
    console = Console(file=io.StringIO(), width=200)
    with quick_verify():
        artifact = build(spec, TARGET, out=tmp_path / "out", work=tmp_path / "work", version=version, console=console)
    source = artifact.manifest.provenance
    assert source.checkpoint == version.address
    assert [(run.kind, run.run_id, run.steps) for run in source.runs] == [("train", "abc", 3)]
    return artifact.digest


def test_a_version_becomes_a_release_and_gets_the_verdict(model: WandbModel, tmp_path: Path) -> None:
    version = fetch_version(ADDRESS, tmp_path / "registry")
    assert version.address == "wandb:team/lading/tiny-image:v3", "the alias may move later"
    card = read_card(version.checkpoint)
    assert card is not None
    assert card.run_id == "abc"
    assert "last.ckpt" not in model.downloaded

    digest = built(version, tmp_path, Plain())
    assert model.metadata["lading.verdict"] == "passed"
    assert model.metadata["lading.release"] == digest
    assert model.metadata["lading.serving"] == "fp32"
    assert model.metadata["lading.score.test"] > 0.9
    assert model.metadata["valid/score"] == 0.5, "what training wrote stays"
    assert sorted(model.aliases) == ["latest", "production", "verified"]

    class Demanding(Plain):
        budget = Budget(min_score=1.01)

    with pytest.raises(GateRefusedError):
        built(version, tmp_path, Demanding())
    assert model.metadata["lading.verdict"] == "refused"
    assert "below the minimum" in model.metadata["lading.refused.fp32"]
    assert "lading.release" not in model.metadata
    assert sorted(model.aliases) == ["latest", "production"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("wandb:team/lading/tiny-image:nowhere", "wandb:team/lading/tiny-image:nowhere cannot be fetched"),
        ("wandb:team/other/tiny-image:production", "cannot be fetched"),
        ("wandb:a/b/c/d:e", "cannot be fetched"),
        ("mlflow:cards@champion", "is not mlflow:models:/NAME@ALIAS"),
        ("mlflow:models:/cards", "is not mlflow:models:/NAME@ALIAS"),
    ],
)
def test_a_version_that_is_not_there_is_named(model: WandbModel, tmp_path: Path, address: str, words: str) -> None:
    assert model.url
    with pytest.raises(CheckpointError, match=words) as refused:
        fetch_version(address, tmp_path)
    assert len(str(refused.value)) <= 500


def test_a_verdict_that_cannot_be_written_is_said(model: WandbModel, tmp_path: Path) -> None:
    version = fetch_version(ADDRESS, tmp_path)
    model.denied = True
    with pytest.raises(CheckpointError, match="the verdict cannot be written onto wandb:team/lading/tiny-image:v3"):
        version.report({"lading.verdict": "passed"}, passed=True)


@pytest.mark.parametrize("uri", ["cards@champion", "models:/cards", "models:/cards@", "models:/a/b@c", "runs:/1/x"])
def test_an_address_that_mlflow_would_not_know_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(CheckpointError, match="is not mlflow:models:/NAME@ALIAS, nor mlflow:models:/NAME/NUMBER"):
        fetch_version(f"mlflow:{uri}", tmp_path)


@pytest.mark.parametrize("mode", ["offline", "disabled", None])
def test_without_a_login_to_wandb_no_one_is_prompted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str | None
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_SWEEP_ID", "NETRC", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    with pytest.raises(CheckpointError, match="run `wandb login` or set WANDB_API_KEY"):
        fetch_version("wandb:team/lading/cards:production", tmp_path)


@pytest.mark.slow
def test_an_mlflow_version_becomes_a_release_and_gets_the_verdict(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tiny-image.safetensors", "tiny-image.run.json"):
        (tmp_path / name).write_bytes(files[name])
    documented = (ROOT / "docs" / "training.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert documented.count("runs/cards/cards") == 2
    with mlflow_server(tmp_path) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        own = documented.replace("runs/cards/cards", str(tmp_path / "tiny-image")).replace('"cards"', '"tiny-image"')
        exec(own, {})
        released(tmp_path)


def released(tmp_path: Path) -> None:
    client = MlflowClient()
    version = fetch_version("mlflow:models:/tiny-image@champion", tmp_path / "registry")
    assert version.address == "mlflow:models:/tiny-image/1"
    digest = built(version, tmp_path, Plain())
    registered = client.get_model_version_by_alias("tiny-image", "verified")
    assert str(registered.version) == "1"
    assert registered.tags["lading.verdict"] == "passed"
    assert registered.tags["lading.release"] == digest
    with pytest.raises(CheckpointError, match="cannot be fetched"):
        fetch_version("mlflow:models:/tiny-image@nowhere", tmp_path)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["a.safetensors"], ("a.safetensors", None)),
        (["a.run.json", "a.safetensors", "x.png"], ("a.safetensors", "a.run.json")),
        (["model/a.run.json", "model/a.safetensors"], ("model/a.safetensors", "model/a.run.json")),
        (["other.run.json", "a.safetensors", "a.ckpt"], ("a.safetensors", None)),
        (["a.ckpt", "a.run.json", "b.pkl"], ("a.ckpt", "a.run.json")),
        (["../a.safetensors", "b.safetensors", "/c.safetensors"], ("b.safetensors", None)),
    ],
)
def test_the_checkpoint_of_a_version_is_its_one_file_of_weights(
    names: list[str], chosen: tuple[str, str | None]
) -> None:
    assert weights_among(names, "wandb:x") == chosen


@pytest.mark.parametrize("names", [[], ["a.pt", "b.pt"], ["b.pkl"], ["a.safetensors", "b.safetensors"]])
def test_a_version_without_one_is_refused(names: list[str]) -> None:
    with pytest.raises(CheckpointError, match=r"must have one file of weights \(\.safetensors, or \.pth, "):
        weights_among(names, "wandb:x")


@pytest.mark.parametrize(
    ("checkpoint", "address"),
    [("wandb:a/b/c:d", True), ("mlflow:models:/a@b", True), ("runs/wandb/x.safetensors", False), ("x:y", False)],
)
def test_an_address_is_told_from_a_file(checkpoint: str, address: bool) -> None:
    assert is_address(checkpoint) == address
