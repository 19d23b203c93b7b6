"""Score pieces on a cluster with Ray Data: one worker per CPU, each writing its parts to the shared folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from lading.artifact import Artifact
from lading.errors import DataError, LadingError
from lading.score.score_pieces import ScoringJob, score_pieces
from lading.score.scorer import Scorer
from lading.score.source import Piece

# Set before ray is imported, or it sends usage statistics.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

LOCAL = "local"


class Worker:
    """One process of the cluster. It loads the model once, then scores one task at a time on one lane."""

    def __init__(self, job: ScoringJob, tasks: Sequence[Sequence[Piece]]) -> None:
        self.job, self.tasks = job, tasks
        self.scorer = Scorer(Artifact.load(job.artifact), job.variant, batch=job.batch, keep_errors=job.keep_errors)
        self.scorer.predictor.check_golden()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        pieces = self.tasks[row["task"]]
        try:
            # If its worker died, a task runs again and resumes after the last complete part.
            score_pieces(self.job, self.scorer, self.job.parts.waiting(pieces), 1, lambda _: None)
        except LadingError as error:
            return {"rows": 0, "error": str(error)}
        return {"rows": sum(piece.rows for piece in pieces), "error": ""}


def score_on_ray(
    job: ScoringJob, tasks: Sequence[Sequence[Piece]], address: str, workers: int, advance: Callable[[int], None]
) -> None:
    """Score tasks on a cluster's workers.

    Args:
        job: what to score; its folders must be shared by all machines.
        tasks: pieces that belong together.
        address: of the cluster: ``auto`` for the one that this runs in, or ``local`` for one on this machine.
        workers: largest number of workers; 0: one per CPU.
        advance: called with the rows of each task that is done.

    Raises:
        DataError: a bad row, a file that cannot be read, or no cluster at that address.
    """
    with _cluster(address, workers):
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        at_most = workers or int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
        worker: Any = Worker  # Ray makes one in each process
        done = ray.data.from_items(
            [{"task": number} for number in range(len(tasks))], override_num_blocks=len(tasks)
        ).map(worker, fn_constructor_args=(job, tasks), concurrency=min(at_most, len(tasks)), num_cpus=1)
        for row in done.iter_rows():
            if row["error"]:
                raise DataError(row["error"])
            advance(row["rows"])


@contextmanager
def _cluster(address: str, workers: int) -> Iterator[None]:
    options: dict[str, Any] = {"address": address}
    if address == LOCAL:
        options = {"address": LOCAL, "include_dashboard": False}
        if workers:
            options["num_cpus"] = workers
    _connect(options, tries=3 if address == LOCAL else 1)
    try:
        yield
    finally:
        ray.shutdown()


def _connect(options: Mapping[str, Any], tries: int) -> None:
    """Connect to a cluster, with retries: Ray gives its processes 30 s to start, too little on a busy machine."""
    for left in reversed(range(tries)):
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except Exception as error:  # Ray raises many types, including plain Exception.
            ray.shutdown()
            if not left:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise DataError(f"Ray at {options['address']!r} cannot be used: {reason}") from None
        else:
            return
