"""Training in several processes: the same curve, written once, gone on with by another number of them."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lading.build.train.batches import EpochOrder, training_batches
from lading.build.train.checkpoint import read_card
from lading.build.train.config import compose
from lading.build.train.processes import Processes, wanted
from lading.build.train.train import train, train_command
from lading.build.train.trainer import new_trainer
from lading.errors import SpecError
from tests.given.tiny import TinyImage
from tests.given.two_processes import GRAPH, IMAGE, PLAIN


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one process, and the same of two that torchrun started."""
    out = tmp_path_factory.mktemp("processes")
    train_command(IMAGE[0], [*PLAIN, *IMAGE[1]], out=out / "image-1")
    train_command(GRAPH[0], [*PLAIN, *GRAPH[1]], out=out / "graph-1")
    train_command(IMAGE[0], [*PLAIN, *IMAGE[1], "trainer.max_epochs=2"], out=out / "begun-by-1")
    shutil.copytree(out / "begun-by-1", out / "alone")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        [*command, "-m", "tests.given.two_processes", str(out)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-5000:]
    return out


def column(run: Path, name: str, file: str = "metrics.csv") -> list[float]:
    with (run / file).open() as stream:
        return [float(row[name]) for row in csv.DictReader(stream) if row.get(name)]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["image", "graph"])
def test_two_processes_draw_the_curve_of_one(folder: Path, model: str) -> None:
    one, two = folder / f"{model}-1", folder / f"{model}-2"
    for name in ("train/loss", "valid/loss", "valid/score"):
        assert column(two, name) == pytest.approx(column(one, name), rel=1e-4), name
    assert len(column(two, "valid/loss")) == 4


@pytest.mark.slow
def test_files_and_logs_are_written_once(folder: Path) -> None:
    run = folder / "image-2"
    card = read_card(run / "tiny-image.safetensors")
    assert card is not None
    assert card.processes == 2
    assert {file.name for file in run.glob("*.csv")} == {"metrics.csv"}
    assert {file.name for file in run.glob("*.ckpt")} == {"best.ckpt", "last.ckpt"}
    (logged,) = (run / "wandb").glob("offline-run-*")
    assert logged.name.endswith(card.run_id)


@pytest.mark.slow
def test_two_processes_go_on_with_what_one_began(folder: Path) -> None:
    train_command("", ["trainer.max_epochs=4"], out=None, resume=folder / "alone")
    two, one = folder / "begun-by-1", folder / "alone"
    assert column(two, "valid/loss", "metrics-1.csv") == column(one, "valid/loss", "metrics-1.csv")
    assert column(two, "valid/loss") == pytest.approx(column(one, "valid/loss"), rel=1e-4)
    assert torch.load(two / "last.ckpt", weights_only=True)["global_step"] == 4 * 8


@pytest.mark.slow
def test_one_process_goes_on_with_what_two_began(folder: Path) -> None:
    train_command("", ["trainer.max_epochs=4"], out=None, resume=folder / "begun-by-2")
    # The first two epochs of this run and of the other were the same, so the last two are.
    other = column(folder / "begun-by-1", "valid/loss")
    assert column(folder / "begun-by-2", "valid/loss") == pytest.approx(other, rel=1e-4)


@pytest.mark.slow
def test_a_batch_that_cannot_be_dealt_out_is_refused_by_all(folder: Path) -> None:
    reasons = {(folder / f"refused-by-{rank}").read_text() for rank in (0, 1)}
    assert reasons == {"data.batch_size=15 is of all processes together and does not divide by 2: use 14 or 16"}


@given(
    length=st.integers(1, 200), batch=st.integers(1, 12), size=st.integers(1, 4), seed=st.integers(0, 9),
    epoch=st.integers(0, 3),
)  # fmt: skip
def test_processes_together_read_the_batches_of_one(length: int, batch: int, size: int, seed: int, epoch: int) -> None:
    batch *= size
    if length < size:
        with pytest.raises(SpecError, match="use fewer processes"):
            EpochOrder(length, batch, seed=seed, group=Processes(size=size))
        return
    orders = [EpochOrder(length, batch, seed=seed, group=Processes(rank=rank, size=size)) for rank in range(size)]
    for order in orders:
        order.set_epoch(epoch)
    together = np.array([list(order) for order in orders])
    assert together.shape[1] == len(orders[0])
    assert (together[:, :, 0] == epoch).all()
    indexes = together[:, :, 1]
    assert len(np.unique(indexes)) == indexes.size
    if length >= batch:
        alone = EpochOrder(length, batch, seed=seed, group=Processes())
        alone.set_epoch(epoch)
        steps = [index for _, index in alone]
        for step in range(alone.steps):
            dealt = indexes[:, step * batch // size : (step + 1) * batch // size]
            assert sorted(dealt.flat) == sorted(steps[step * batch : (step + 1) * batch])


@given(length=st.integers(1, 50), size=st.integers(1, 6))
def test_shares_of_a_split_join_to_the_whole(length: int, size: int) -> None:
    if length < size:
        with pytest.raises(SpecError, match="use fewer processes"):
            Processes(size=size).share(length)
    else:
        shares = [Processes(rank=rank, size=size).share(length) for rank in range(size)]
        assert [index for share in shares for index in share] == list(range(length))


class Noisy(TinyImage):
    """Its training pictures are changed at random."""

    def augment(self, _inputs: object, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"image": rng.integers(0, 255, size=(16, 16, 3), dtype=np.uint8)}


def test_an_example_is_changed_alike_whoever_reads_it_and_otherwise_in_the_next_epoch() -> None:
    spec, split = Noisy(), Noisy().dataset("train")

    def read(workers: int, epoch: int, group: Processes = Processes()) -> torch.Tensor:  # noqa: B008
        batches = training_batches(spec, split, batch_size=16, seed=3, group=group, workers=workers)
        batches.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        return torch.stack([batch[0][0] for batch in batches])

    whole = read(0, 1)
    assert torch.equal(read(2, 1), whole)
    assert not torch.equal(read(0, 2), whole)
    halves = [read(0, 1, Processes(rank=rank, size=2)) for rank in (0, 1)]
    assert torch.equal(torch.stack(halves, dim=2).flatten(1, 2), whole)


def test_what_was_not_started_or_is_not_known_is_refused(tmp_path: Path) -> None:
    config = compose(IMAGE[0], PLAIN)
    for key, value, message in (
        ("devices", 2, "`lading train` starts several"),
        ("num_nodes", 2, "torchrun on each"),
        ("devices", "some", "neither a number of processes nor auto"),
    ):
        other = OmegaConf.merge(config, {"trainer": {key: value}})
        with pytest.raises(SpecError, match=message):
            train(TinyImage(), other, tmp_path)  # type: ignore[arg-type]
    config.trainer.strategy = "fsdp"
    with pytest.raises(SpecError, match="'fsdp' is not one of: auto, ddp"):
        new_trainer(config, tmp_path, [], Processes())


def test_auto_is_one_process_without_gpus() -> None:
    assert wanted(compose(IMAGE[0], [*PLAIN, "trainer.devices=auto", "trainer.accelerator=cpu"])) == 1


def test_a_restartable_run_needs_a_folder_and_goes_on_in_it(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--restartable needs --out"):
        train_command(IMAGE[0], PLAIN, out=None, restartable=True)
    for epochs in (1, 2):
        train_command(
            IMAGE[0], [*PLAIN, *IMAGE[1], f"trainer.max_epochs={epochs}"], out=tmp_path / "run", restartable=True
        )
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 2 * 8
