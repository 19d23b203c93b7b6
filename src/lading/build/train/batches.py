"""From a split to batches: order, augmentation, and the share of each process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from lading.build.examples import read_example
from lading.build.train.processes import Processes
from lading.errors import SpecError
from lading.spec import Dataset, Example, ModelSpec
from lading.tensors.lengths import Lengths
from lading.tensors.ragged import collate

Batch = tuple[list[torch.Tensor], dict[str, torch.Tensor]]


class EpochOrder(Sampler[tuple[int, int]]):
    """This process's part of every batch of an epoch, as pairs (epoch, index).

    The order depends only on the seed and the epoch. A batch of ``batch_size`` examples is dealt out to the processes:
    however many there are, step for step they see together the examples that one process sees. What does not fill a
    last batch is left to another epoch, which has another order; a last batch of one would break batch norm.

    Args:
        length: examples of the split.
        batch_size: of all processes together.
        seed: of the run.
        group: this process among the others.

    Raises:
        SpecError: the batch cannot be dealt out evenly, or there are fewer examples than processes.
    """

    def __init__(self, length: int, batch_size: int, *, seed: int, group: Processes) -> None:
        group.check_batch(batch_size)
        self.batch = min(batch_size, length - length % group.size)
        if self.batch == 0:
            raise SpecError(f"{length} examples cannot be shared by {group.size} processes: use fewer processes")
        self.length, self.seed, self.group = length, seed, group
        self.steps = length // self.batch
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch, also in a resumed run."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps * self.batch // self.group.size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)[: self.steps * self.batch]
        mine = order.reshape(self.steps, self.batch)[:, self.group.rank :: self.group.size]
        return iter([(self.epoch, int(index)) for index in mine.flat])


class _Augmented(TorchDataset[Example]):
    """A split with random changes to its examples. They depend on seed, epoch and index, not on the worker."""

    def __init__(self, spec: ModelSpec, split: Dataset, seed: int) -> None:
        self.spec, self.split, self.seed = spec, split, seed

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, item: tuple[int, int]) -> Example:
        epoch, index = item
        inputs, targets = read_example(self.split, index)
        return self.spec.augment(inputs, np.random.default_rng([self.seed, epoch, index])), targets


def training_batches(
    spec: ModelSpec, split: Dataset, *, batch_size: int, seed: int, group: Processes, **reading: Any
) -> DataLoader[Example]:
    """This process's batches of ``batch_size / group.size`` examples, shuffled and augmented.

    Args:
        reading: ``workers`` and ``prefetch``, as for :func:`batches_in_order`.
    """
    order = EpochOrder(len(split), batch_size, seed=seed, group=group)
    return _batches(spec, _Augmented(spec, split, seed), order, order.batch // group.size, **reading)


def batches_in_order(
    spec: ModelSpec, split: Dataset, *, batch_size: int, group: Processes | None = None, **reading: Any
) -> DataLoader[Example]:
    """This process's share of a split, in order and without augmentation.

    Args:
        reading: ``workers`` processes that load, 0 for this one; ``prefetch`` batches that each keeps ready.
    """
    # Pictures of any size do not make one batch.
    size = 1 if Lengths(tuple(spec.inputs)).pictures else batch_size
    return _batches(spec, split, (group or Processes()).share(len(split)), size, **reading)


def _batches(
    spec: ModelSpec,
    split: Any,
    order: Sampler[tuple[int, int]] | range,
    batch_size: int,
    *,
    workers: int = 0,
    prefetch: int = 2,
) -> DataLoader[Example]:
    return DataLoader(
        split,
        batch_size=batch_size,
        sampler=order,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=prefetch if workers else None,
        pin_memory=torch.cuda.is_available(),
        collate_fn=partial(join_examples, spec),
    )


def join_examples(spec: ModelSpec, examples: Sequence[Example]) -> Batch:
    """One batch: inputs in the spec's order, targets by name.

    Raises:
        SpecError: pictures of any size that differ in size.
    """
    for tensor in Lengths(tuple(spec.inputs)).pictures:
        shapes = sorted({np.shape(given[tensor.name]) for given, _ in examples})
        if len(shapes) > 1:
            raise SpecError(
                f"a batch of training examples has {tensor.name!r} of shapes {list(shapes[0])} and {list(shapes[1])}: "
                "give all examples of 'train' one size, such as a random crop in dataset() or augment(); other splits "
                "may have any"
            )
    inputs = collate(spec.inputs, [inputs for inputs, _ in examples])
    tensors = [torch.from_numpy(np.ascontiguousarray(inputs[tensor.name])) for tensor in spec.inputs]
    return tensors, stacked([targets for _, targets in examples])


def stacked(targets: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(np.stack([one[name] for one in targets])) for name in targets[0]}
