"""Time every variant and torch, on as many batch sizes and threads as an effort asks for."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import onnxruntime as ort
from rich.progress import Progress

from lading.artifact.manifest import LengthCost
from lading.build.examples import spread
from lading.build.verify.peak_memory import peak_memory
from lading.build.verify.timing import ALONE, COMPILED, EAGER, FIRST, Plan, Timings, measure, median
from lading.build.verify.torch_baseline import Runner, TorchBaselines
from lading.machine import usable_cpus
from lading.predictor import open_session
from lading.spec import Array, Dataset, Evaluated
from lading.tensors.checks import check_inputs
from lading.tensors.lengths import Lengths
from lading.tensors.ragged import collate

LARGEST_BATCH = 128
"""Largest batch to measure. Batches double while that makes an example cheaper: for graphs, but not for pictures."""


@dataclass(frozen=True)
class Scale:
    """How much an effort measures."""

    examples: tuple[int | None, int | None]
    """Examples scored of the first test split, and of each other one; ``None``: all."""
    batches: tuple[int, ...]
    judged: Plan
    """For batch 1 on one thread, which decides."""
    others: Plan
    compile_batches: tuple[int, ...]
    """torch.compile takes tens of seconds for each new shape."""

    def scored(self, number: int, dataset: Dataset) -> int:
        """Examples that are scored of a test split, by its number."""
        return min(self.examples[min(number, 1)] or len(dataset), len(dataset))


@dataclass(frozen=True)
class Bench:
    """What is measured, on what, and how much."""

    spec: Evaluated
    files: Mapping[str, Path]
    sessions: Mapping[str, ort.InferenceSession]
    """One thread each, by variant."""
    datasets: Mapping[str, Dataset]
    scale: Scale
    progress: Progress

    def feed(self, batch: int) -> dict[str, Array]:
        """A batch of real requests; where their length differs, of the one of median length."""
        dataset = self.datasets[self.spec.test_splits[0]]
        if self.lengths:
            some = sorted((given for given, _ in spread(dataset, MEDIAN_OF)), key=self._length)
            return collate(self.spec.inputs, [some[len(some) // 2]] * batch)
        examples = [given for given, _ in spread(dataset, batch)]
        return collate(self.spec.inputs, [examples[index % len(examples)] for index in range(batch)])

    @cached_property
    def lengths(self) -> Lengths:
        return Lengths(tuple(self.spec.inputs))

    def _length(self, example: Mapping[str, Array]) -> int:
        return self.lengths.of(check_inputs(self.spec.inputs, example, example=True)) or 0

    @property
    def length(self) -> int | None:
        """Length of the examples in every feed; ``None`` where all cost the same."""
        return self.lengths.of(self._sizes) if self.lengths else None

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return check_inputs(self.spec.inputs, self.feed(1))

    def at_most(self, batch: int) -> int:
        """The batch size, or the largest that is served of the examples of every feed."""
        batch = self.spec.at_most(batch)
        return self.lengths.rows(self._sizes, batch) if self.lengths else batch

    def feed_of_length(self, batch: int, sizes: Mapping[str, int]) -> dict[str, Array]:
        """A batch of one real request whose dims are cut, or repeated, to these sizes."""
        feed = self.feed(1)
        for spec in self.spec.inputs:
            array = feed[spec.name]
            for axis, dim in enumerate(spec.shape):
                if dim in sizes:
                    array = array.take(np.arange(sizes[str(dim)]) % array.shape[axis], axis=axis)
            feed[spec.name] = np.repeat(array, batch, axis=0)
        return feed


def time_all(bench: Bench, torch: TorchBaselines | None) -> Timings:
    """Time every session, and torch if it is given."""
    cpus = max(1, int(usable_cpus()))
    more_threads = [(1, count) for count in (2, 4, 8, 16) if count <= cpus]
    timings = Timings()
    batches = sorted({bench.at_most(batch) for batch in bench.scale.batches})
    cells = [*((batch, 1) for batch in batches), *more_threads]
    task = bench.progress.add_task("timing", total=0)
    while cells:
        bench.progress.update(task, total=(len(timings.samples) + len(cells)) * bench.scale.others.rounds)
        batch, threads = cell = cells.pop(0)
        plan = bench.scale.judged if cell == FIRST else bench.scale.others
        runners = _runners(bench, torch, batch, threads)
        if batch > 1:
            runners |= {name + ALONE: run for name, run in _runners(bench, None, 1, 1).items()}
        timings.add(cell, measure(runners, plan))
        bench.progress.advance(task, bench.scale.others.rounds)
        if threads == 1 and batch >= batches[-1] and 2 * batch <= bench.at_most(LARGEST_BATCH) and timings.pays(batch):
            cells.insert(0, (2 * batch, 1))
    return timings


def _runners(bench: Bench, torch: TorchBaselines | None, batch: int, threads: int) -> dict[str, Runner]:
    feed = bench.feed(batch)
    names = [tensor.name for tensor in bench.spec.outputs]
    sessions = bench.sessions
    if threads > 1:
        sessions = {name: open_session(bench.files[name], threads=threads) for name in bench.sessions}
    runners: dict[str, Runner] = {name: partial(session.run, names, feed) for name, session in sessions.items()}
    if torch is not None:
        runners[EAGER] = torch.eager(feed, threads)
        compiled = torch.compiled(feed, threads) if threads == 1 and batch in bench.scale.compile_batches else None
        if compiled is not None:
            runners[COMPILED] = compiled
    return runners


LENGTH_BATCH = 4
"""Examples of the larger run at each length. What a further example costs hardly depends on how many there are."""
MEDIAN_OF = 64
"""Examples whose median length is that of the timings."""


def costs_of_lengths(bench: Bench) -> dict[str, tuple[LengthCost, ...]]:
    """Time runs of every length, by variant."""
    names = [tensor.name for tensor in bench.spec.outputs]
    found: dict[str, list[LengthCost]] = {name: [] for name in bench.sessions}
    measured = bench.lengths.measured()
    task = bench.progress.add_task("timing lengths", total=len(measured))
    for sizes in measured:
        length = bench.lengths.of(sizes) or 1
        batch = bench.lengths.rows(sizes, bench.spec.at_most(LENGTH_BATCH))
        runners: dict[tuple[str, int], Runner] = {}
        for size in {1, batch}:
            feed = bench.feed_of_length(size, sizes)
            runners |= {(name, size): partial(session.run, names, feed) for name, session in bench.sessions.items()}
        samples = measure({f"{size} {name}": run for (name, size), run in runners.items()}, bench.scale.others)
        for name, costs in found.items():
            alone, together = (median(samples[f"{size} {name}"]) for size in (1, batch))
            costs.append(LengthCost(length=length, batch=batch, alone_ms=alone, batch_ms=together))
        bench.progress.advance(task)
    return {name: tuple(costs) for name, costs in found.items()}


def memory_of_all(bench: Bench) -> dict[str, int]:
    """Growth of the peak memory of a fresh process, in bytes, by variant."""
    largest, measured = bench.scale.batches[-1], bench.lengths.measured()
    if measured:
        feed = bench.feed_of_length(bench.lengths.rows(measured[-1], largest), measured[-1])
    else:
        feed = bench.feed(largest)
    task = bench.progress.add_task("peak memory", total=len(bench.sessions))
    files = [bench.files[name] for name in bench.sessions]
    grown = {}
    with ThreadPoolExecutor(2 if usable_cpus() >= 2 else 1) as pool:  # most of it is starting Python
        for name, size in zip(bench.sessions, pool.map(partial(peak_memory, inputs=feed), files), strict=True):
            grown[name] = size
            bench.progress.advance(task)
    return grown
