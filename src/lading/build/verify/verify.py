"""Verify: score every variant, time it against the others and torch, and compare it with the budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import onnxruntime as ort

from lading.artifact.manifest import Baseline, LengthCost, Measurement, Similarity
from lading.build.records import VERIFICATION_FILE as FILE
from lading.build.records import Confusion, Effort, Verification, VerifiedVariant, read_variants, require_passed
from lading.build.verify.bench import Bench, Scale, costs_of_lengths, memory_of_all, time_all
from lading.build.verify.doubts import Evidence, examine
from lading.build.verify.drop import score_drop
from lading.build.verify.gates import Candidate, choose, is_reference, judge
from lading.build.verify.scores import Answers, answer_split, confusion
from lading.build.verify.timing import COMPILED, EAGER, Plan, Speed, Timings
from lading.build.verify.torch_baseline import TorchBaselines
from lading.errors import ArtifactError, DataError, SpecError
from lading.files import claim, finish, write_atomically
from lading.machine import describe_machine
from lading.predictor import open_session
from lading.progress import progress_bars
from lading.spec import Evaluated
from lading.tensors.agreement import agreement, difference, similarities

__all__ = ["EFFORTS", "Effort", "Scale", "Verification", "VerifiedVariant", "require_passed", "verify"]

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
    "The interval of a score's drop from fp32 is for the mean over examples that were not drawn (95 %). "
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
        The record. A refused variant is part of it and raises no error here. If it is the fp32 variant, nothing was
        timed.

    Raises:
        SpecError: there is no plain fp32 variant to compare the others with.
        DataError: a test split cannot be read, or is empty.
    """
    scale = EFFORTS[effort]
    scale = replace(scale, batches=tuple(batch for batch in scale.batches if batch == spec.at_most(batch)))
    claim(out, ("report.html",), known_by=FILE)
    built = read_variants(variants)
    files = {entry.variant.name: variants / entry.file for entry in built if entry.file is not None}
    problems = {entry.variant.name: entry.problem or "it was not built" for entry in built if entry.file is None}
    sessions = open_all(files, problems)
    reference = next((entry.variant.name for entry in built if is_reference(entry.variant)), "fp32")
    if reference not in sessions:
        raise SpecError(f"{spec.name}: the fp32 variant cannot be run: {problems.get(reference, 'it is missing')}")
    datasets = {split: spec.dataset(split) for split in spec.test_splits}
    for number, (split, dataset) in enumerate(datasets.items()):
        if not len(dataset):
            raise DataError(f"the split {split!r} of {spec.name} is empty, so nothing can be scored: give it examples")
        prepare = getattr(dataset, "prepare", None)
        if prepare is not None and scale.scored(number, dataset) == len(dataset):
            prepare()
    with progress_bars() as progress:
        bench = Bench(spec, files, sessions, datasets, scale, progress)
        answers = _score(bench)
        evidence = examine(spec, reference, answers)
        stopped = tuple(evidence.refused.get(reference, ()))
        problems |= {name: "; ".join(sentences) for name, sentences in evidence.refused.items()}
        measured, timings = {}, Timings()
        if not stopped:
            bench = replace(bench, sessions={name: sessions[name] for name in evidence.trusted})
            timings = time_all(bench, torch)
            lengths = costs_of_lengths(bench)
            memory = memory_of_all(bench)
            for name in bench.sessions:
                try:
                    cost = timings.against(reference, name), lengths[name], memory[name]
                    measured[name] = _measurement(bench, name, evidence, cost)
                except DataError as error:
                    problems[name] = str(error)
    candidates = [
        Candidate(entry.variant, measured.get(entry.variant.name), problems.get(entry.variant.name)) for entry in built
    ]
    split = spec.test_splits[0]
    if stopped:
        untimed = f"it was not timed, because {reference} was refused"
        reasons = [
            stopped if is_reference(candidate.variant) else (candidate.problem or untimed,) for candidate in candidates
        ]
    else:
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
                exporter=entry.exporter,
                scores=evidence.finite_scores(entry.variant.name),
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
        absent=_absent(torch, scale) if not stopped else dict.fromkeys((EAGER, COMPILED), f"{reference} was refused"),
        notes=tuple(evidence.notes),
        chosen=choose(candidates, reasons, split),
        confusions=() if stopped else tuple(_confusions(spec, answers[split])),
    )
    write_atomically(out / FILE, verification.model_dump_json(indent=2) + "\n")
    finish(out)
    return verification


def open_all(files: Mapping[str, Path], problems: dict[str, str]) -> dict[str, ort.InferenceSession]:
    """Open every graph as a server does, with one thread. One that cannot be opened is put into ``problems``."""
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


def _measurement(
    bench: Bench, name: str, evidence: Evidence, cost: tuple[Speed, tuple[LengthCost, ...], int]
) -> Measurement:
    speed, lengths, peak_memory_bytes = cost
    outputs, first, reference = bench.spec.outputs, evidence.answers[evidence.split], evidence.reference
    return Measurement(
        scores=evidence.scores[name],
        score_drop=None if name == reference else score_drop(bench.spec, first, reference, name),
        agreement=agreement(outputs, first.outputs[reference], first.outputs[name]),
        similarity={
            output: Similarity(measure=measure, least=float(rows.min()), mean=float(rows.mean()))
            for output, (measure, rows) in similarities(outputs, first.outputs[reference], first.outputs[name]).items()
        },
        max_difference=difference(outputs, first.outputs[reference], first.outputs[name]),
        size_bytes=bench.files[name].stat().st_size,
        timings=speed.timings,
        speedup=speed.speedup,
        speedup_torch=speed.speedup_torch,
        round_ms=speed.round_ms,
        peak_memory_bytes=peak_memory_bytes,
        length=bench.length,
        lengths=lengths,
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
