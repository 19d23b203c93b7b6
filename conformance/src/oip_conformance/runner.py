"""Run the statements on the models of a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import oip_conformance.statements  # noqa: F401 - fills in the list
from oip_conformance.statement import GRPC, REST, STATEMENTS, Failed, Level, Skipped, Statement, shown
from oip_conformance.subject import Subject


class Outcome(Enum):
    """What became of a statement."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Result:
    """The outcome of one statement."""

    statement: Statement
    outcome: Outcome
    reason: str = ""
    """What the server did instead, or why the statement does not apply."""
    seconds: float = 0.0

    @property
    def breaks(self) -> bool:
        """The server does not conform: a MUST failed."""
        return self.outcome is Outcome.FAILED and self.statement.level is Level.MUST


def check(statement: Statement, subject: Subject) -> None:
    """Check one statement.

    Raises:
        Failed: the server does not do what it says.
        Skipped: it does not apply.
    """
    for side in (REST, GRPC):
        if side in statement.over:
            _ = subject.rest if side == REST else subject.grpc
    if statement.extension is not None and statement.extension not in subject.extensions:
        raise Skipped(f"the server does not list the extension {statement.extension}")
    statement.check(subject)


def result_of(statement: Statement, subject: Subject) -> Result:
    """Check one statement. An exception that is neither a failure nor a skip counts as a failure."""
    start = time.perf_counter()
    outcome, reason = Outcome.PASSED, ""
    try:
        check(statement, subject)
    except Failed as failure:
        outcome, reason = Outcome.FAILED, str(failure)
    except Skipped as skip:
        outcome, reason = Outcome.SKIPPED, str(skip)
    except Exception as error:  # what a server sends may be anything
        outcome, reason = Outcome.FAILED, f"{type(error).__name__}: {shown(str(error))}"
    return Result(statement, outcome, reason, time.perf_counter() - start)


def run(
    subjects: Sequence[Subject],
    statements: Iterable[Statement] | None = None,
    progress: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Check the statements on each subject.

    Args:
        subjects: models of one server.
        statements: what to check; ``None``: all.
        progress: called with each result.

    Returns:
        One result per statement. It failed if it failed for one model, and passed if it passed for one and failed
        for none.
    """
    results = []
    for statement in STATEMENTS.values() if statements is None else statements:
        result = worst([_named(result_of(statement, subject), subject, subjects) for subject in subjects])
        results.append(result)
        if progress is not None:
            progress(result)
    return results


def worst(results: Sequence[Result]) -> Result:
    """A failed result before a passed one before a skipped one."""
    order = (Outcome.FAILED, Outcome.PASSED, Outcome.SKIPPED)
    seconds = sum(result.seconds for result in results)
    return replace(min(results, key=lambda result: order.index(result.outcome)), seconds=seconds)


def _named(result: Result, subject: Subject, subjects: Sequence[Subject]) -> Result:
    if len(subjects) == 1 or not result.reason:
        return result
    return replace(result, reason=f"{subject.model}: {result.reason}")
