"""``lading score``: plan the parts, score the missing ones, join all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnxruntime as ort
from rich.console import Console

from lading.artifact import Artifact
from lading.artifact.manifest import CostTable
from lading.errors import SettingsError
from lading.machine import usable_cpus
from lading.progress import progress_bars
from lading.score.csv_source import CsvSource
from lading.score.file_source import FileSource
from lading.score.jsonl_result import JsonLinesResult
from lading.score.jsonl_source import JsonLinesSource
from lading.score.parquet_result import ParquetResult
from lading.score.parquet_source import ParquetSource
from lading.score.parts import Finished, Parts, Plan
from lading.score.result import refuse_doubles, result_kind
from lading.score.score_pieces import ScoringJob, score_pieces
from lading.score.scorer import Scorer, batch_of
from lading.score.source import Piece, Source, find_files
from lading.spec import TensorSpec

SOURCES: tuple[type[Source], ...] = (ParquetSource, CsvSource, JsonLinesSource, FileSource)
RESULTS = (ParquetResult, JsonLinesResult)
_BLOCK_SECONDS, _BLOCK_BYTES, _BLOCK_ROWS = 0.05, 16 << 20, 4096
_PART_SECONDS, _PART_BYTES, _PART_ROWS = 2.0, 64 << 20, 65_536
_GUESSED_SIZE = 64
"""Assumed size of a symbolic dim, to estimate memory."""


@dataclass(frozen=True)
class Options:
    """Options of a run."""

    variant: str | None = None
    keep: tuple[str, ...] = ()
    keep_errors: bool = False
    batch: int = 0
    part_rows: int = 0
    lanes: int = 0
    ray: str | None = None
    workers: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class Score:
    """Result of a run."""

    finished: Finished
    scored: int
    """Rows scored by this run. Earlier runs scored the others."""


def score(artifact: Artifact, source: Path, output: Path, options: Options, console: Console) -> Score:
    """Score every row of ``source`` and write the answers to ``output``.

    Raises:
        DataError: the input does not fit the model, or a row is invalid and errors are not kept.
        SettingsError: an option cannot be used.
        NotReadyError: this machine does not reproduce the artifact's golden outputs.
    """
    rows_in = _open_source(artifact, source, options)
    result_type = result_kind(output, RESULTS)
    variant = artifact.variant(options.variant).variant.name
    record = {"model": artifact.manifest.name, "version": artifact.manifest.version, "variant": variant}
    result = result_type(
        artifact.manifest.outputs,
        tuple(rows_in.kept_fields()),
        options.keep_errors,
        json.dumps(record | {"artifact": artifact.digest}),
    )
    refuse_doubles(result.columns, options.keep)
    batch = batch_of(artifact, variant, options.batch)
    block_rows, part_rows = _sizes(artifact, variant, batch, options.part_rows)
    pieces = rows_in.pieces(part_rows)
    plan = Plan(
        **record,
        artifact=artifact.digest,
        onnxruntime=ort.__version__,
        input=rows_in.fingerprint(),
        input_kind=rows_in.kind,
        keep=options.keep,
        keep_errors=options.keep_errors,
        batch=batch,
        block_rows=block_rows,
        part_rows=part_rows,
        rows=sum(piece.rows for piece in pieces),
        parts=len(pieces),
    )
    parts = Parts(output.absolute())
    if options.overwrite:
        parts.discard()
    elif (finished := parts.finished(plan)) is not None:
        return Score(finished, 0)
    job = ScoringJob(
        str(artifact.path.absolute()), variant, rows_in, result, parts, options.keep_errors, batch, block_rows
    )
    with parts.open(plan):
        waiting = parts.waiting(pieces)
        if waiting:
            done = plan.rows - sum(piece.rows for piece in waiting)
            with progress_bars(console) as progress:
                task = progress.add_task("rows", total=plan.rows, completed=done)
                _run(job, artifact, waiting, options, partial(progress.advance, task))
        finished = parts.finish(plan, pieces, result.join)
    return Score(finished, sum(piece.rows for piece in waiting))


def _open_source(artifact: Artifact, path: Path, options: Options) -> Source:
    kind, root, files = find_files(path, SOURCES)
    source = kind(root.absolute(), files, artifact.manifest.inputs, options.keep)
    source.check()
    return source


def _run(
    job: ScoringJob, artifact: Artifact, pieces: Sequence[Piece], options: Options, advance: Callable[[int], None]
) -> None:
    if options.ray:
        try:
            from lading.score.on_ray import score_on_ray
        except ModuleNotFoundError:
            raise SettingsError("--ray needs Ray: pip install 'lading[score,ray]'") from None
        score_on_ray(job, job.source.tasks(pieces), options.ray, options.workers, advance)
    else:
        scorer = Scorer(artifact, job.variant, batch=job.batch, keep_errors=job.keep_errors)
        scorer.predictor.check_golden()
        score_pieces(job, scorer, pieces, options.lanes or max(1, int(usable_cpus())), advance)


def _sizes(artifact: Artifact, variant: str, batch: int, part_rows: int) -> tuple[int, int]:
    """Rows of a block and of a part: short enough for progress and resuming, small enough for memory."""
    measurement = artifact.variant(variant).measurement
    seconds = CostTable.of(measurement).seconds(batch) / batch
    read, written = _row_bytes(artifact.manifest.inputs), _row_bytes(artifact.manifest.outputs)
    block = _multiple(batch, min(_BLOCK_SECONDS / seconds, _BLOCK_BYTES / (read + written), _BLOCK_ROWS))
    part = _multiple(block, min(_PART_SECONDS / seconds, _PART_BYTES / written, _PART_ROWS))
    return (min(block, part_rows), part_rows) if part_rows else (block, part)


def _multiple(of: int, rows: float) -> int:
    return of * max(1, int(rows / of))


def _row_bytes(specs: Sequence[TensorSpec]) -> int:
    total = 0
    for spec in specs:
        size = spec.numpy_dtype.itemsize
        for dim in spec.example_shape:
            size *= dim if isinstance(dim, int) else _GUESSED_SIZE
        total += size
    return total
