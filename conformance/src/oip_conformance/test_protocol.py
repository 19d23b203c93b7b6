"""One test per statement: ``pytest --pyargs oip_conformance.test_protocol --oip-rest URL --oip-grpc HOST:PORT``."""

from __future__ import annotations

import pytest

from oip_conformance.runner import Outcome, run
from oip_conformance.statement import STATEMENTS, Statement
from oip_conformance.subject import Subject


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_statement(statement: Statement, oip_subjects: list[Subject]) -> None:
    """The server does what the statement says. A failed SHOULD or MAY is an expected failure."""
    (result,) = run(oip_subjects, [statement])
    message = f"{statement.level.value} {statement.text}\n{result.reason}\n{statement.section.url}"
    if result.breaks:
        pytest.fail(message, pytrace=False)
    if result.outcome is Outcome.FAILED:
        pytest.xfail(message)
    if result.outcome is Outcome.SKIPPED:
        pytest.skip(result.reason)
