"""Time every variant and torch, on as many batch sizes and threads as an effort asks for."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnxruntime as ort
from rich.progress import Progress

from lading.build.examples import spread
from lading.build.verify.peak_memory import peak_memory
from lading.build.verify.timing import ALONE, COMPILED, EAGER, FIRST, Plan, Timings, measure
from lading.build.verify.torch_baseline import Runner, TorchBaselines
from lading.machine import usable_cpus
from lading.predictor import open_session
from lading.spec import Array, Dataset, Evaluated
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
        """A batch of real requests."""
        examples = [given for given, _ in spread(self.datasets[self.spec.test_splits[0]], batch)]
        return collate(self.spec.inputs, [examples[index % len(examples)] for index in range(batch)])


def time_all(bench: Bench, torch: TorchBaselines | None) -> Timings:
    """Time every session, and torch if it is given."""
    cpus = max(1, int(usable_cpus()))
    more_threads = [(1, count) for count in (2, 4, 8, 16) if count <= cpus]
    timings = Timings()
    cells = [*((batch, 1) for batch in bench.scale.batches), *more_threads]
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
        if (
            threads == 1
            and batch >= bench.scale.batches[-1]
            and 2 * batch <= bench.spec.at_most(LARGEST_BATCH)
            and timings.pays(batch)
        ):
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


def memory_of_all(bench: Bench) -> dict[str, int]:
    """Growth of the peak memory of a fresh process, in bytes, by variant."""
    feed = bench.feed(bench.scale.batches[-1])
    task = bench.progress.add_task("peak memory", total=len(bench.sessions))
    files = [bench.files[name] for name in bench.sessions]
    grown = {}
    with ThreadPoolExecutor(2 if usable_cpus() >= 2 else 1) as pool:  # most of it is starting Python
        for name, size in zip(bench.sessions, pool.map(partial(peak_memory, inputs=feed), files), strict=True):
            grown[name] = size
            bench.progress.advance(task)
    return grown
