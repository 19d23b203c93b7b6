"""The finished parts of a result. A part is complete or missing, so an interrupted run can resume."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field, ValidationError

from lading.errors import DataError
from lading.files import lock_file, write_atomically
from lading.score.source import Piece
from lading.spec import Frozen

_PLAN = "plan.json"
Join = Callable[[Sequence[Path], Path], tuple[int, int]]
"""Joins parts into one file. Returns the number of rows, and of rows without an answer."""


class Plan(Frozen):
    """Everything that a result depends on. Another plan gives another result."""

    model: str
    version: str
    variant: str
    artifact: str = Field(title="artifact's digest")
    onnxruntime: str
    input: str = Field(title="input's fingerprint")
    input_kind: str
    keep: tuple[str, ...]
    keep_errors: bool
    batch: int
    block_rows: int
    part_rows: int
    rows: int
    parts: int

    def differences(self, other: Plan) -> list[str]:
        """Names of the fields in which two plans differ."""
        fields = type(self).model_fields
        return [field.title or name for name, field in fields.items() if getattr(self, name) != getattr(other, name)]


class Finished(Frozen):
    """``OUTPUT.run.json``: the record of a run. It exists only if the result is complete."""

    plan: Plan
    rows: int
    errors: int
    """Rows without an answer."""


class Parts:
    """The folder ``OUTPUT.parts`` next to a result, and the result's record ``OUTPUT.run.json``."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(output.name + ".parts")
        self.record = output.with_name(output.name + ".run.json")

    def path(self, piece: Piece) -> Path:
        return self.folder / f"part-{piece.number:06d}{self.output.suffix}"

    def waiting(self, pieces: Sequence[Piece]) -> list[Piece]:
        """The pieces without a finished part."""
        there = {path.name for path in self.folder.iterdir()}
        return [piece for piece in pieces if self.path(piece).name not in there]

    def finished(self, plan: Plan) -> Finished | None:
        """The record of a complete result; ``None`` if there is something to do.

        Raises:
            DataError: there is a result of another run, or one without a record.
        """
        if not self.output.exists():
            return None
        if self.folder.exists() and not self.record.exists():
            return None  # Interrupted between joining and writing the record: join again.
        advice = "name another file, or start over with --overwrite"
        try:
            found = Finished.model_validate_json(self.record.read_bytes())
        except (OSError, ValidationError):
            raise DataError(f"{self.output} is there already: {advice}") from None
        if found.plan != plan:
            raise DataError(f"{self.output} is there already, and {_differs(plan, found.plan)}: {advice}")
        return found

    @contextmanager
    def open(self, plan: Plan) -> Iterator[None]:
        """Make the folder, or resume in one with the same plan. One run at a time.

        Raises:
            DataError: another run is at it, or the folder is of another plan.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                lock_file(lock.fileno())
            except BlockingIOError:
                raise DataError(f"another run is writing {self.output} at this moment") from None
            except OSError:
                pass  # no locks here: the user starts one run at a time
            self._same(plan)
            for unfinished in self.folder.glob(".*"):
                unfinished.unlink()
            yield

    def write(self, piece: Piece, write: Callable[[Path], None]) -> None:
        """Write one part to a temporary file, then rename it."""
        write_atomically(self.path(piece), write)

    def finish(self, plan: Plan, pieces: Sequence[Piece], join: Join) -> Finished:
        """Join the parts into the result, write its record, then delete the parts."""
        counts: list[int] = []
        paths = [self.path(piece) for piece in pieces]
        write_atomically(self.output, lambda path: counts.extend(join(paths, path)))
        finished = Finished(plan=plan, rows=counts[0], errors=counts[1])
        write_atomically(self.record, finished.model_dump_json(indent=2) + "\n")
        shutil.rmtree(self.folder)
        return finished

    def discard(self) -> None:
        """Remove the result, its record and its parts."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.record.unlink(missing_ok=True)
        self.output.unlink(missing_ok=True)

    def _same(self, plan: Plan) -> None:
        file = self.folder / _PLAN
        if not file.exists():
            write_atomically(file, plan.model_dump_json(indent=2) + "\n")
            return
        try:
            found = Plan.model_validate_json(file.read_bytes())
        except ValidationError:
            raise DataError(f"{file} was written by another version of lading: start over with --overwrite") from None
        if found != plan:
            raise DataError(
                f"{self.folder} holds parts of another run: {_differs(plan, found)}; run it as it was started, "
                "or start over with --overwrite"
            )


def _differs(plan: Plan, found: Plan) -> str:
    names = plan.differences(found)
    return f"its {', '.join(names)} {'are' if len(names) > 1 else 'is'} different"
