"""`lading import` and every `--checkpoint` take weights from elsewhere, and say where they came from."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

from lading.artifact import Artifact
from lading.build.train.average import mean_of
from lading.build.train.checkpoint import card_file, load_checkpoint, new_card, read_card, save_checkpoint
from lading.build.train.config import compose
from lading.build.train.lineage import lineage, newest_training
from lading.build.train.train import train
from lading.build.weights.file import read_weights
from lading.build.weights.imported import import_weights, taken
from lading.build.weights.load import load_into
from lading.cli import app
from lading.errors import CheckpointError, OccupiedError
from tests.given.tiny import TinyImage, fit

MODEL = "tests/given/tiny.py:TinyImage"
QUICK = ("trainer.max_epochs=1", "trainer.progress=false", "logger.wandb=false", "data.workers=0")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return fit(TinyImage())


@pytest.fixture(scope="module")
def foreign(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as Lightning writes it."""
    path = tmp_path_factory.mktemp("foreign") / "last.ckpt"
    state = OrderedDict((f"model.{name}", tensor) for name, tensor in network.state_dict().items())
    torch.save({"epoch": 3, "state_dict": state, "hyper_parameters": {"lr": 0.1}, "optimizer_states": [{}]}, path)
    return path


def same(one: nn.Module, other: nn.Module) -> bool:
    pixels = torch.arange(768, dtype=torch.uint8).reshape(1, 16, 16, 3)
    pairs = zip(one.eval()(pixels), other.eval()(pixels), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.exception and type(result.exception)) == (code, None), result.output
    return " ".join(result.output.split())


def test_an_import_keeps_the_answers_and_the_hash_of_its_file(
    network: nn.Module, foreign: Path, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "tiny.safetensors"
    told = import_weights(TinyImage(), foreign, out)
    module, card = load_checkpoint(TinyImage(), out)
    assert same(module, network)
    about = card.config["imported"]
    assert about["sha256"] == hashlib.sha256(foreign.read_bytes()).hexdigest()
    assert (about["file"], about["format"]) == ("last.ckpt", "torch")
    assert about["renamed"] == {"state_dict.model.": ""}
    assert about["dropped"] == {"epoch": 1, "hyper_parameters": 1, "optimizer_states": 1}
    assert any("hyper_parameters" in line for line in told)
    assert card.weights == hashlib.sha256(out.read_bytes()).hexdigest()
    assert load_file(out).keys() == {k for k in network.state_dict() if not k.endswith("num_batches_tracked")}


def test_the_lineage_says_that_the_training_is_unknown(foreign: Path, tmp_path: Path) -> None:
    import_weights(TinyImage(), foreign, tmp_path / "tiny.safetensors")
    card = read_card(tmp_path / "tiny.safetensors")
    assert card is not None
    (entry,) = lineage(card)
    assert entry.kind == "import"
    assert "who trained last.ckpt, and on which data" in entry.unknown
    assert newest_training(card) is None


def test_an_import_replaces_only_an_import(foreign: Path, network: nn.Module, tmp_path: Path) -> None:
    out = tmp_path / "tiny.safetensors"
    for _ in range(2):
        import_weights(TinyImage(), foreign, out)
    out.write_bytes(out.read_bytes() + b" ")
    with pytest.raises(OccupiedError, match=r"tiny\.safetensors is there, and `lading import` did not write it"):
        import_weights(TinyImage(), foreign, out)
    trained = save_checkpoint(tmp_path / "own.safetensors", network, new_card(TinyImage(), network))
    before = trained.read_bytes()
    with pytest.raises(OccupiedError):
        import_weights(TinyImage(), foreign, trained)
    assert trained.read_bytes() == before
    (tmp_path / "mine.run.json").write_text("mine")
    with pytest.raises(OccupiedError, match=r"mine\.run\.json is there"):
        import_weights(TinyImage(), foreign, tmp_path / "mine.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(OccupiedError):
        import_weights(TinyImage(), foreign, tmp_path / "folder.safetensors")


def test_a_file_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    torch.save({"state_dict": {"colour.weight": torch.ones(3, 16)}}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="it lacks"):
        import_weights(TinyImage(), tmp_path / "w.pth", tmp_path / "out" / "tiny.safetensors")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_lading_is_used_where_it_is(network: nn.Module, tmp_path: Path) -> None:
    own = save_checkpoint(tmp_path / "tiny.safetensors", network, new_card(TinyImage(), network))
    assert taken(TinyImage(), own, tmp_path / "import") == (own, [])
    card_file(own).unlink()
    assert taken(TinyImage(), own, tmp_path / "import") == (own, [])
    assert not (tmp_path / "import").exists()


def test_the_same_file_is_imported_once(foreign: Path, tmp_path: Path) -> None:
    path, told = taken(TinyImage(), foreign, tmp_path)
    written = path.stat().st_mtime_ns, card_file(path).read_text()
    assert taken(TinyImage(), foreign, tmp_path) == (path, told)
    assert (path.stat().st_mtime_ns, card_file(path).read_text()) == written


def test_a_checkpoint_that_was_pruned_here_keeps_its_shapes_and_its_run(tmp_path: Path) -> None:
    narrow = TinyImage().build().__class__(channels=8)
    own = save_checkpoint(tmp_path / "n.safetensors", narrow, new_card(TinyImage(), narrow, pruning=0.5, run_id="abc"))
    import_weights(TinyImage(), own, tmp_path / "again.safetensors")
    module, card = load_checkpoint(TinyImage(), tmp_path / "again.safetensors")
    assert same(module, narrow)
    assert card.pruning == 0.5
    assert card.parent is not None
    assert card.parent.run_id == "abc"


def test_weights_of_elsewhere_keep_the_shapes_of_the_model(tmp_path: Path) -> None:
    narrow = TinyImage().build().__class__(channels=8)
    torch.save(narrow.state_dict(), tmp_path / "narrow.pth")
    with pytest.raises(CheckpointError, match=r"'colour\.weight' is \[3, 8\] in the file and \[3, 16\] in the model"):
        load_checkpoint(TinyImage(), tmp_path / "narrow.pth")


def test_training_starts_from_it_and_records_the_file(foreign: Path, network: nn.Module, tmp_path: Path) -> None:
    config = compose(MODEL, [*QUICK, "trainer.max_steps=0", f"init={foreign}"])
    path = train(TinyImage(), config, tmp_path / "run")
    module, card = load_checkpoint(TinyImage(), path)
    assert same(module, network)
    assert card.parent is not None
    assert card.parent.config["imported"]["file"] == "last.ckpt"


def test_the_mean_is_taken_of_any_files(foreign: Path, network: nn.Module, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "w.pth")
    assert same(mean_of(TinyImage(), tmp_path / "w.pth", foreign, 0.5), network)


def test_import_tells_what_it_did(foreign: Path, tmp_path: Path) -> None:
    told = run("import", str(foreign), MODEL, "--out", str(tmp_path / "t.safetensors"))
    assert "state_dict.model. to (none)" in told
    assert "num_batches_tracked of 1 layers" in told
    assert f"checkpoint: {tmp_path / 't.safetensors'}" in told
    refused = CliRunner().invoke(app, ["import", str(foreign), MODEL, "--out", str(tmp_path / "t.pth")])
    assert refused.exit_code == 2


def test_every_checkpoint_option_takes_it(foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[3]
    monkeypatch.chdir(tmp_path)
    target, given = f"{root / MODEL}", ("--checkpoint", str(foreign))
    sha = hashlib.sha256(foreign.read_bytes()).hexdigest()
    assert "renamed" in run("export", target, *given)
    run("quantize", target)
    run("verify", target, *given)
    run("pack", target, *given)
    assert Artifact.load(Path("artifacts/tiny-image")).manifest.provenance.config["imported"]["sha256"] == sha
    assert "renamed" in run("build", target, *given, "--out", "built", "--work", "work")
    assert Artifact.load(Path("built")).manifest.provenance.config["imported"]["sha256"] == sha
    small = ("prune.max_epochs=1", "prune.round_to=1", "--share", "0.3", "--out", "pruned")
    run("prune", target, *QUICK[1:], *small, *given)
    assert Path("pruned/tiny-image-pruned30.safetensors").is_file()


class Versioned(nn.Linear):
    """A layer that asks which version of its class wrote its weights, as torchvision's MNASNet does."""

    _version = 2

    def _load_from_state_dict(
        self, state_dict: dict[str, torch.Tensor], prefix: str, local_metadata: dict[str, int], *rest: object
    ) -> None:
        if local_metadata.get("version") not in (1, 2):
            raise ValueError(f"version should be set to 1 or 2 instead of {local_metadata.get('version')}")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_layer_that_asks_for_its_version_is_told_it(suffix: str, tmp_path: Path) -> None:
    layer, layer_again = Versioned(3, 2), Versioned(3, 2)
    module, again = nn.Sequential(layer), nn.Sequential(layer_again)
    file = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(module.state_dict(), file)
    else:
        save_file(module.state_dict(), file)
    load_into(again, file, "versioned")
    assert torch.equal(layer_again.weight, layer.weight)


def sharded(network: nn.Module, folder: Path, suffix: str = "safetensors") -> Path:
    """The weights in two files and an index, as transformers saves large ones."""
    folder.mkdir(exist_ok=True)
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    names = sorted(tensors)
    where = {name: f"model-{1 + place % 2:05}-of-00002.{suffix}" for place, name in enumerate(names)}
    for shard in sorted({*where.values()}):
        own = {name: tensors[name] for name in names if where[name] == shard}
        if suffix == "safetensors":
            save_file(own, folder / shard)
        else:
            torch.save(own, folder / shard)
    index = folder / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    return index


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_the_shards_of_an_index_are_imported_whole(suffix: str, network: nn.Module, tmp_path: Path) -> None:
    index = sharded(network, tmp_path / "shards", suffix)
    import_weights(TinyImage(), index, tmp_path / "tiny.safetensors")
    module, card = load_checkpoint(TinyImage(), tmp_path / "tiny.safetensors")
    assert same(module, network)
    assert card is not None
    assert card.config["imported"]["format"] == "shards"


def test_another_shard_is_imported_again(network: nn.Module, tmp_path: Path) -> None:
    index = sharded(network, tmp_path / "shards")
    first, _ = taken(TinyImage(), index, tmp_path / "import")
    assert first.parent == tmp_path / "import"
    before = first.read_bytes()
    assert taken(TinyImage(), index, tmp_path / "import")[0].read_bytes() == before
    other = TinyImage().build()
    torch.nn.init.ones_(next(iter(other.parameters())))
    sharded(other, tmp_path / "shards")
    assert taken(TinyImage(), index, tmp_path / "import")[0].read_bytes() != before


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("{", "is no index of shards: it needs a weight_map"),
        ('{"weights": 1}', "is no index of shards"),
        ('{"weight_map": {}}', "shards are weights files next to the index"),
        ('{"weight_map": {"a": "../other.safetensors"}}', "names '../other.safetensors': shards are"),
        ('{"weight_map": {"a": "model.safetensors.index.json"}}', "shards are weights files next to the index"),
        ('{"weight_map": {"a": "lost.safetensors"}}', "names lost.safetensors, which is not next to it: copy all"),
        ('{"weight_map": {"a": "here.safetensors"}}', "says that here.safetensors holds 'a', and it does not"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(told: str, message: str, tmp_path: Path) -> None:
    save_file({"b": torch.ones(1)}, tmp_path / "here.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(told)
    with pytest.raises(CheckpointError, match=message):
        read_weights(tmp_path / "model.safetensors.index.json")


def test_a_folder_with_an_index_names_it(network: nn.Module, tmp_path: Path) -> None:
    index = sharded(network, tmp_path / "shards")
    with pytest.raises(CheckpointError, match=f"give the file with the weights in it, such as .*{index.name}"):
        read_weights(tmp_path / "shards")
