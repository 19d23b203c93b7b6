"""Verify: score every variant, time it against the others and torch, and compare it with the budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import onnxruntime as ort
from rich.progress import Progress

from lading.build.examples import spread
from lading.build.records import VERIFICATION_FILE as FILE
from lading.build.records import Confusion, Effort, Verification, VerifiedVariant, read_variants, require_passed
from lading.build.verify.gates import Candidate, choose, is_reference, judge
from lading.build.verify.peak_memory import peak_memory
from lading.build.verify.scores import Answers, answer_split, confusion
from lading.build.verify.timing import ALONE, COMPILED, EAGER, FIRST, Plan, Speed, Timings, measure
from lading.build.verify.torch_baseline import Runner, TorchBaselines
from lading.errors import ArtifactError, SpecError
from lading.files import write_atomically
from lading.machine import describe_machine, usable_cpus
from lading.manifest import Baseline, Measurement
from lading.predictor import open_session
from lading.progress import progress_bars
from lading.spec import Array, Dataset, Evaluated
from lading.tensors.agreement import agreement, difference
from lading.tensors.ragged import collate

__all__ = ["EFFORTS", "Effort", "Verification", "VerifiedVariant", "require_passed", "verify"]

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


# Two variants that differ in 6 % of their answers also differ in score by chance: by a standard error of 0.008 on
# 1000 examples, and of 0.005 on 2500. Budgets of a score are about 0.01.
EFFORTS: Mapping[Effort, Scale] = {
    "quick": Scale((2500, 500), (1, 2, 4, 8), Plan(15, 40.0), Plan(5, 25.0), ()),
    "full": Scale((None, None), (1, 2, 4, 8, 16, 32), Plan(30, 100.0), Plan(10, 80.0), (1, 2, 4, 8, 16, 32)),
}
METHOD = (
    "Every runner takes its turn in each of {rounds} rounds, in a new random order; a turn lasts {turn:.0f} ms or "
    "3 runs. Speed-ups are the median over rounds of the quotient of a round's two medians, with the 95 % bootstrap "
    "interval, at batch 1 on one thread. A larger batch takes turns with batch 1 and is corrected for the "
    "speed of the machine at that time. "
    "Peak memory is that of a fresh process at batch {largest}."
)


def verify(
    spec: Evaluated,
    variants: Path,
    out: Path,
    *,
    effort: Effort = "quick",
    torch: TorchBaselines | None = None,
) -> Verification:
    """Measure every variant and compare it with the budget.

    Args:
        spec: the model.
        variants: folder that the quantize stage wrote.
        out: folder to write ``verification.json`` to.
        effort: how long to measure.
        torch: runs the trained module in torch; without it there are no torch baselines.

    Returns:
        The record. A refused variant is part of it and raises no error here.

    Raises:
        SpecError: there is no plain fp32 variant to compare the others with.
        DataError: a test split cannot be read.
    """
    scale = EFFORTS[effort]
    built = read_variants(variants)
    files = {entry.variant.name: variants / entry.file for entry in built if entry.file is not None}
    problems = {entry.variant.name: entry.problem or "it was not built" for entry in built if entry.file is None}
    sessions = _open(files, problems)
    reference = next((entry.variant.name for entry in built if is_reference(entry.variant)), "fp32")
    if reference not in sessions:
        raise SpecError(f"{spec.name}: the fp32 variant cannot be run: {problems.get(reference, 'it is missing')}")
    datasets = {split: spec.dataset(split) for split in spec.test_splits}
    for number, dataset in enumerate(datasets.values()):
        prepare = getattr(dataset, "prepare", None)
        if prepare is not None and scale.scored(number, dataset) == len(dataset):
            prepare()
    with progress_bars() as progress:
        bench = Bench(spec, files, sessions, datasets, scale, progress)
        answers = _score(bench)
        timings = _time(bench, torch)
        memory = _memory(bench)
    measured = {
        name: _measurement(bench, name, answers, timings.against(reference, name), memory[name]) for name in sessions
    }
    candidates = [
        Candidate(entry.variant, measured.get(entry.variant.name), problems.get(entry.variant.name)) for entry in built
    ]
    split = spec.test_splits[0]
    reasons = [judge(candidate, measured[reference], spec.budget, split) for candidate in candidates]
    verification = Verification(
        name=spec.name,
        score_name=spec.score_name,
        effort=effort,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        method=METHOD.format(rounds=scale.judged.rounds, turn=scale.judged.turn_ms, largest=scale.batches[-1]),
        machine=describe_machine(),
        splits={name: answered.examples for name, answered in answers.items()},
        variants=tuple(
            VerifiedVariant(
                variant=entry.variant,
                file=entry.file if entry.variant.name in sessions else None,
                precision=entry.precision,
                problem=candidate.problem,
                measurement=candidate.measurement,
                passed=not why,
                reasons=why,
                details=entry.details,
            )
            for entry, candidate, why in zip(built, candidates, reasons, strict=True)
        ),
        baselines=tuple(
            Baseline(name=name, timings=timings.of(name)) for name in (EAGER, COMPILED) if timings.of(name)
        ),
        absent=_absent(torch, scale),
        chosen=choose(candidates, reasons, split),
        confusions=tuple(_confusions(spec, answers[split])),
    )
    write_atomically(out / FILE, verification.model_dump_json(indent=2) + "\n")
    return verification


@dataclass(frozen=True)
class Bench:
    """What is measured, on what, and how much."""

    spec: Evaluated
    files: Mapping[str, Path]
    sessions: Mapping[str, ort.InferenceSession]
    """One thread each, by variant; only those that could be opened."""
    datasets: Mapping[str, Dataset]
    scale: Scale
    progress: Progress

    def feed(self, batch: int) -> dict[str, Array]:
        """A batch of real requests."""
        examples = [given for given, _ in spread(self.datasets[self.spec.test_splits[0]], batch)]
        return collate(self.spec.inputs, [examples[index % len(examples)] for index in range(batch)])


def _open(files: Mapping[str, Path], problems: dict[str, str]) -> dict[str, ort.InferenceSession]:
    sessions = {}
    for name, file in files.items():
        try:
            sessions[name] = open_session(file)
        except ArtifactError as error:
            problems[name] = str(error)
    return sessions


def _score(bench: Bench) -> dict[str, Answers]:
    answers = {}
    for number, (split, dataset) in enumerate(bench.datasets.items()):
        limit = bench.scale.scored(number, dataset)
        task = bench.progress.add_task(f"scoring {split}", total=limit)
        advance = partial(bench.progress.advance, task)
        answers[split] = answer_split(bench.spec, bench.sessions, dataset, limit, advance)
    return answers


def _time(bench: Bench, torch: TorchBaselines | None) -> Timings:
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
        if threads == 1 and batch >= bench.scale.batches[-1] and 2 * batch <= LARGEST_BATCH and timings.pays(batch):
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


def _memory(bench: Bench) -> dict[str, int]:
    feed = bench.feed(bench.scale.batches[-1])
    task = bench.progress.add_task("peak memory", total=len(bench.sessions))
    files = [bench.files[name] for name in bench.sessions]
    grown = {}
    with ThreadPoolExecutor(2 if usable_cpus() >= 2 else 1) as pool:  # most of it is starting Python
        for name, size in zip(bench.sessions, pool.map(partial(peak_memory, inputs=feed), files), strict=True):
            grown[name] = size
            bench.progress.advance(task)
    return grown


def _measurement(
    bench: Bench, name: str, answers: Mapping[str, Answers], speed: Speed, peak_memory_bytes: int
) -> Measurement:
    spec = bench.spec
    first = answers[spec.test_splits[0]].outputs
    reference = next(variant.name for variant in spec.variants if is_reference(variant))
    return Measurement(
        scores={split: spec.score(answered.outputs[name], answered.targets) for split, answered in answers.items()},
        agreement=agreement(spec.outputs, first[reference], first[name]),
        max_difference=difference(spec.outputs, first[reference], first[name]),
        size_bytes=bench.files[name].stat().st_size,
        timings=speed.timings,
        speedup=speed.speedup,
        speedup_torch=speed.speedup_torch,
        round_ms=speed.round_ms,
        peak_memory_bytes=peak_memory_bytes,
    )


def _confusions(spec: Evaluated, answered: Answers) -> Iterator[Confusion]:
    for name, outputs in answered.outputs.items():
        for tensor in spec.outputs:
            counts = confusion(tensor, outputs, answered.targets)
            if counts is not None and tensor.labels is not None:
                yield Confusion(variant=name, output=tensor.name, labels=tensor.labels, counts=counts)


def _absent(torch: TorchBaselines | None, scale: Scale) -> dict[str, str]:
    if torch is None:
        return dict.fromkeys((EAGER, COMPILED), "there is no checkpoint to run")
    if not scale.compile_batches:
        return {COMPILED: "compiling takes about a minute: measured with `lading verify --effort full`"}
    return dict(torch.absent)
