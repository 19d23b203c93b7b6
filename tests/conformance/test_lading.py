"""Lading does what the statements of the protocol say: ``lading serve``, over REST and gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oip_conformance.connect import subjects_of
from oip_conformance.runner import Outcome, run
from oip_conformance.statement import STATEMENTS, Statement
from oip_conformance.subject import Subject
from tests.given.served_process import serving
from tests.given.small_artifacts import colour_artifact, echo_artifact, table_artifact


@pytest.fixture(scope="module")
def lading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Subject]]:
    """A server with a model that returns its inputs, one of numbers, and one that classifies pictures."""
    folder: Path = tmp_path_factory.mktemp("conformance")
    models = folder / "models"
    models.mkdir()
    for make in (table_artifact, colour_artifact):
        make(models / make.__name__)
    echo = echo_artifact(folder / "echo").path
    with serving(echo, folder / "log", LADING_MODELS=str(models), LADING_MODEL_CONTROL="on") as server:
        subjects = subjects_of(server.url, server.grpc, may_reload=True)
        yield subjects
        for subject in subjects:
            subject.close()


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_lading_does_what_the_protocol_says(statement: Statement, lading: list[Subject]) -> None:
    (result,) = run(lading, [statement])
    if result.outcome is Outcome.SKIPPED:
        pytest.skip(result.reason)
    assert result.outcome is Outcome.PASSED, f"{statement.text}\n{result.reason}\n{statement.section.url}"
