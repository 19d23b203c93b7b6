"""Score pieces on lanes, as the server does: one thread reads and writes in order, the others decode and infer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from lading.score.parts import Parts
from lading.score.result import Result
from lading.score.scorer import Scorer
from lading.score.source import Block, Piece, Source

_AHEAD = 2
"""Blocks per lane to read ahead: enough that no lane waits for the disk, in bounded memory."""


@dataclass(frozen=True)
class ScoringJob:
    """Everything that a worker needs, on any machine."""

    artifact: str
    variant: str
    source: Source
    result: Result
    parts: Parts
    keep_errors: bool
    batch: int
    block_rows: int


def score_pieces(
    job: ScoringJob, scorer: Scorer, pieces: Sequence[Piece], lanes: int, advance: Callable[[int], None]
) -> None:
    """Score pieces in order and write a part for each.

    Args:
        job: what to score.
        scorer: its model, loaded.
        pieces: those to score.
        lanes: threads.
        advance: called with the rows of each block that is done.

    Raises:
        DataError: a bad row, or a file that cannot be read.
    """
    written: list[Any] = []
    rows = 0
    with ThreadPoolExecutor(lanes, thread_name_prefix="lane") as pool:
        work = partial(_score_block, job.result, scorer)
        for piece, block, encoded in _in_order(pool, work, job.source.blocks(pieces, job.block_rows), _AHEAD * lanes):
            written.append(encoded)
            rows += len(block)
            if rows == piece.rows:
                job.parts.write(piece, partial(job.result.write_part, blocks=written))
                written, rows = [], 0
            advance(len(block))


def _score_block(result: Result, scorer: Scorer, block: Block) -> Any:
    return result.encode(block, scorer.answer(block))


def _in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[Block], Any],
    blocks: Iterable[tuple[Piece, Block]],
    ahead: int,
) -> Iterable[tuple[Piece, Block, Any]]:
    """Work on up to ``ahead`` blocks at a time, and yield the results in the order of reading."""
    waiting: deque[tuple[Piece, Block, Future[Any]]] = deque()
    try:
        for piece, block in blocks:
            if len(waiting) == ahead:
                yield _oldest(waiting)
            waiting.append((piece, block, pool.submit(work, block)))
        while waiting:
            yield _oldest(waiting)
    finally:
        for _, _, future in waiting:
            future.cancel()


def _oldest(waiting: deque[tuple[Piece, Block, Future[Any]]]) -> tuple[Piece, Block, Any]:
    piece, block, future = waiting.popleft()
    return piece, block, future.result()
