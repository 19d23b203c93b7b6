"""Files of every trainer are read, no code in them is run, and what is no weights file is named in one sentence."""

from __future__ import annotations

import argparse
import collections
import datetime
import os
import pathlib
import pickle
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.fabric.utilities.data import AttributeDict
from omegaconf import OmegaConf
from torch import nn

from lading.build.weights.file import read_weights
from lading.errors import CheckpointError

OPTIONS: dict[str, Callable[[], Any]] = {
    "argparse": lambda: argparse.Namespace(lr=0.1, out=pathlib.Path("runs")),
    "namespace": lambda: types.SimpleNamespace(lr=0.1),
    "path": lambda: pathlib.Path("runs/1"),
    "windows path": lambda: pathlib.PureWindowsPath("c:/runs"),
    "numpy number": lambda: np.float32(0.5),
    "numpy whole number": lambda: np.int64(5),
    "numpy array": lambda: np.arange(3),
    "numpy dtype": lambda: np.dtype("float32"),
    "numpy's generator": lambda: dict(np.random.default_rng(0).bit_generator.state),
    "defaultdict": lambda: collections.defaultdict(list, {1: [2]}),
    "omegaconf": lambda: OmegaConf.create({"a": {"b": [1, "x", 2.5, None, True]}, "c": "${a.b}"}),
    "omegaconf list": lambda: OmegaConf.create([1, {"a": 2}]),
    "lightning": lambda: AttributeDict({"width": 4}),
    "time": lambda: {"at": datetime.datetime.now(tz=datetime.UTC), "for": datetime.timedelta(1)},
    "version": lambda: torch.__version__,
    "set": lambda: {1, 2},
    "dtype": lambda: torch.float16,
    "generator": torch.get_rng_state,
}


class Attack:
    """What an attacker puts into a pickle."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


class Fit(lightning.LightningModule):
    """A model as Lightning's users write it."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.save_hyperparameters({"width": width, "runs": pathlib.Path("runs")})
        self.model = nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        loss: torch.Tensor = self.model(batch[0]).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters())


def refused(file: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_weights(file)
    sentence = str(error.value)
    assert str(file) in sentence
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_trainers_save_are_passed_over(name: str, old: bool, tmp_path: Path) -> None:
    content = {"state_dict": {"w": torch.ones(2)}, "options": OPTIONS[name]()}
    torch.save(content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=not old)
    assert torch.equal(read_weights(tmp_path / "w.ckpt").tensors["state_dict.w"], torch.ones(2))


@pytest.mark.filterwarnings("ignore")
def test_lightnings_own_checkpoint_is_read(tmp_path: Path) -> None:
    module = Fit()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.rand(8, 2)), batch_size=4)
    trainer = lightning.Trainer(
        max_epochs=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        default_root_dir=tmp_path,
    )
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    found = read_weights(tmp_path / "last.ckpt").tensors
    for name, tensor in module.state_dict().items():
        assert torch.equal(found[f"state_dict.{name}"], tensor)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("wrap", [lambda attack: attack, lambda attack: {"w": torch.ones(1), "x": [attack]}])
def test_code_in_a_file_is_refused_by_name_and_not_run(old: bool, wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    torch.save(wrap(Attack(f"touch {trace}")), tmp_path / "w.pth", _use_new_zipfile_serialization=not old)
    assert ".system, and loading them could run code, so nothing was loaded" in refused(tmp_path / "w.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(wrap(Attack(f"touch {trace}"))))
    assert "a pickle that torch.save did not write" in refused(tmp_path / "plain.pth")
    assert not trace.exists()


@pytest.mark.parametrize("builtin", [eval, exec, getattr, __import__, open, pickle.loads, torch.load])
def test_no_callable_that_runs_code_is_let_in(builtin: Callable[..., Any], tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    call = type("Call", (), {"__reduce__": lambda _: (builtin, (f"open({str(trace)!r}, 'w')",))})
    torch.save({"w": torch.ones(1), "x": call()}, tmp_path / "w.pth")
    assert "could run code" in refused(tmp_path / "w.pth")
    assert not trace.exists()


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("wrap", [lambda module: module, lambda module: {"model": module, "epoch": 3}])
def test_a_whole_module_says_how_to_save_its_weights(old: bool, wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    torch.save(wrap(nn.Sequential(nn.Linear(2, 2))), tmp_path / "m.pt", _use_new_zipfile_serialization=not old)
    sentence = refused(tmp_path / "m.pt")
    assert "is a whole pickled module" in sentence
    assert "torch.save(model.state_dict(), 'weights.pth')" in sentence


@pytest.mark.parametrize("old", [False, True])
def test_a_file_that_was_cut_is_one_sentence_wherever_it_was_cut(old: bool, tmp_path: Path) -> None:
    torch.save({"w": torch.rand(300)}, tmp_path / "w.pth", _use_new_zipfile_serialization=not old)
    whole = (tmp_path / "w.pth").read_bytes()
    for size in (*range(len(whole) // 40, len(whole), len(whole) // 40), len(whole) - 1):
        (tmp_path / "cut.pth").write_bytes(whole[:size])
        assert "is cut short or damaged" in refused(tmp_path / "cut.pth")


def test_one_changed_byte_of_any_part_is_found(tmp_path: Path) -> None:
    torch.save({"model": {"w": torch.rand(300), "b": torch.rand(3)}, "epoch": 1}, tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    with zipfile.ZipFile(tmp_path / "w.pth") as archive:
        ends = {entry.filename: entry.header_offset for entry in archive.infolist()}
        parts = {name: archive.read(name) for name in ends}
    for name, content in parts.items():
        place = whole.index(content, ends[name] + 30 + len(name)) + len(content) // 2
        (tmp_path / "changed.pth").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert f"the checksum of its part {name!r} is not that of its bytes" in refused(tmp_path / "changed.pth")


def test_a_file_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(300)}, tmp_path / "w.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_weights(tmp_path / "w.pth").tensors["w"], torch.ones(300))


@pytest.mark.parametrize("part", ["data.pkl", "data/0"])
def test_a_small_file_that_inflates_to_a_large_one_is_not_inflated(part: str, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "w.pth")
    with (
        zipfile.ZipFile(tmp_path / "w.pth") as honest,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in honest.infolist():
            content = honest.read(entry)
            more = b"N0" * 10_000_000 if entry.filename.endswith(part) else b""
            bomb.writestr(entry.filename, content[:-1] + more + content[-1:])
    assert (tmp_path / "bomb.pth").stat().st_size < 100_000
    assert "was compressed after torch.save wrote it" in refused(tmp_path / "bomb.pth")


def test_lists_that_share_their_entries_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lading.build.weights.file._MOST_ENTRIES", 10_000)
    content: list[Any] = ["lol"] * 10
    for _ in range(12):
        content = [content] * 10
    torch.save({"w": torch.ones(1), "x": content}, tmp_path / "w.pth")
    assert "holds more than 10,000 entries" in refused(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty"),
        (b"Not Found\n", "it is a text file"),
        (b"\n<!DOCTYPE html><html><body>404", "it is an HTML page"),
        (b'{"message": "not found"}', "it is a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "a pointer of Git LFS; `git lfs pull`"),
        (b"\x1f\x8b\x08\0\0\0", "it is gzip data"),
        (b"\x93NUMPY\x01\0", "it is a NumPy file"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".ckpt", ".safetensors"])
def test_another_kind_of_file_is_named(content: bytes, what: str, suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"w{suffix}").write_bytes(content)
    assert what in refused(tmp_path / f"w{suffix}")


def test_bytes_of_nothing_known_are_said_to_be_damaged(tmp_path: Path) -> None:
    for suffix in (".pth", ".safetensors"):
        (tmp_path / f"w{suffix}").write_bytes(bytes(range(200, 256)) * 8)
    assert "it is damaged, or of another format" in refused(tmp_path / "w.pth")
    assert "header too large" in refused(tmp_path / "w.safetensors")


def test_programs_and_folders_say_which_way_they_go(tmp_path: Path) -> None:
    layer, rows = nn.Linear(2, 2), torch.ones(3, 2)
    torch.export.save(torch.export.export(layer, (rows,)), tmp_path / "p.pt2")
    assert f"`lading pack {tmp_path / 'p.pt2'}`" in refused(tmp_path / "p.pt2")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/data.pkl", "")
        archive.writestr("script/constants.pkl", "")
    assert "TorchScript" in refused(tmp_path / "script.pt")
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("photo.jpg", "")
    assert "a ZIP archive that torch.save did not write" in refused(tmp_path / "other.pth")
    (tmp_path / "shards").mkdir()
    assert "is a folder" in refused(tmp_path / "shards")
    (tmp_path / "shards" / ".metadata").touch()
    assert "torch.distributed.checkpoint.format_utils dcp_to_torch" in refused(tmp_path / "shards")
    (tmp_path / "graph.onnx").write_bytes(b"\x08\x08\x12\x07pytorch")
    assert "`lading pack" in refused(tmp_path / "graph.onnx")
    assert "there is no checkpoint" in refused(tmp_path / "none.pth")


def test_a_mapping_that_holds_itself_ends(tmp_path: Path) -> None:
    content: dict[str, Any] = {"w": torch.ones(1)}
    content["self"] = content
    torch.save(content, tmp_path / "w.pth")
    assert list(read_weights(tmp_path / "w.pth").tensors) == ["w"]
