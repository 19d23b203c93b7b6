"""The processes that train together: a single one, or those that torchrun started on one or more machines."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from omegaconf import DictConfig
from torch import distributed

from lading.errors import SpecError
from lading.machine import allowed_cpus

T = TypeVar("T")

PATIENCE = timedelta(hours=2)
"""Timeout for waiting on other processes: long enough for the first to prepare a data set or score the test splits. A
process that dies is noticed at once, because its connections close and torchrun ends the others."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Args:
        rank: its number, 0 to ``size - 1``. Only 0 writes files and logs.
        size: how many there are.
        local_rank: its number on this machine.
        local_size: how many there are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def nodes(self) -> int:
        return self.size // self.local_size

    def wait(self) -> None:
        """Wait until every process has called this."""
        if self.size > 1:
            distributed.barrier()

    def agree(self, value: T) -> T:
        """Return the value of the first process, in all processes."""
        if self.size == 1:
            return value
        values: list[Any] = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]  # type: ignore[no-any-return]

    def gather(self, values: Sequence[T]) -> list[T]:
        """Concatenate the values of all processes, in the order of their ranks."""
        if self.size == 1:
            return list(values)
        parts: list[Any] = [None] * self.size
        distributed.all_gather_object(parts, list(values))
        return [value for part in parts for value in part]

    @contextlib.contextmanager
    def one_first(self, *, shared: bool) -> Iterator[None]:
        """Run the block in one process of each machine first, then in the others, which find prepared data on disk.

        Args:
            shared: the machines share the disk: let one process of all through first.
        """
        early = self.first if shared else self.local_rank == 0
        if not early:
            self.wait()
        try:
            yield
        finally:
            if early:
                self.wait()

    def check_batch(self, batch_size: int) -> None:
        """Check that a batch divides evenly. Otherwise the mean of the processes' losses is not that of the batch.

        Raises:
            SpecError: names the nearest sizes that can.
        """
        if batch_size % self.size:
            less = batch_size - batch_size % self.size
            raise SpecError(
                f"data.batch_size={batch_size} is of all processes together and does not divide by {self.size}: use "
                + " or ".join(str(size) for size in (less, less + self.size) if size)
            )

    def share(self, length: int) -> range:
        """This process's range of a split that is read in order. Together the ranges are the whole split.

        Raises:
            SpecError: there are fewer examples than processes.
        """
        if length < self.size:
            raise SpecError(f"{length} examples cannot be shared by {self.size} processes: use fewer processes")
        return range(length * self.rank // self.size, length * (self.rank + 1) // self.size)


def current() -> Processes:
    """This process in the group that :func:`joined` opened, or a single process outside of it."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Processes()
    return Processes(
        rank=distributed.get_rank(),
        size=distributed.get_world_size(),
        local_rank=int(os.environ["LOCAL_RANK"]),
        local_size=int(os.environ["LOCAL_WORLD_SIZE"]),
    )


@contextlib.contextmanager
def joined() -> Iterator[Processes]:
    """Join the other processes that torchrun started. Without torchrun there are no others."""
    if not distributed.is_torchelastic_launched() or distributed.is_initialized():
        yield current()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # Objects use gloo, gradients on GPUs NCCL.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield current()
    finally:
        distributed.destroy_process_group()


def wanted(config: DictConfig) -> int:
    """Number of processes on one machine by configuration. ``auto`` is one per GPU, or one without GPUs."""
    devices = config.trainer.devices
    if devices == "auto":
        return max(1, torch.cuda.device_count()) if config.trainer.accelerator != "cpu" else 1
    if not isinstance(devices, int) or devices < 1:
        raise SpecError(f"trainer.devices={devices!r} is neither a number of processes nor auto")
    return devices


def start_torchrun(arguments: Sequence[str], processes: int) -> None:
    """Become torchrun with ``lading ARGUMENTS`` in several processes of this machine; does not return."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {"OMP_NUM_THREADS": str(max(1, allowed_cpus() // processes)), **os.environ}
    sys.stdout.flush()
    os.execve(sys.executable, [*command, "-m", "lading", *arguments], environment)
