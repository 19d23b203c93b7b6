"""Each statement can fail: a server that does all of the protocol passes, and one fault at a time is caught."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oip_conformance.connect import subjects_of
from oip_conformance.runner import Outcome, run
from oip_conformance.statement import STATEMENTS
from oip_conformance.statements import grpc_mistakes, rest_mistakes
from oip_conformance.subject import Subject
from tests.given.extension_faults import EXTENSION_FAULTS
from tests.given.grpc_faults import GRPC_FAULTS
from tests.given.protocol_messages import RIGHT
from tests.given.protocol_server import ProtocolServer, protocol_server
from tests.given.rest_faults import REST_FAULTS

ALL = {**REST_FAULTS, **GRPC_FAULTS, **EXTENSION_FAULTS}
MISTAKES = {
    "an error of an inference looks good": [f"rest_mistakes.{mistake.name}" for mistake in rest_mistakes.MISTAKES],
    "an error of a call is OK": [f"grpc_mistakes.{mistake.name}" for mistake in grpc_mistakes.MISTAKES],
}
"""Faults that every wrong request shows."""


def caught_by(fault: str) -> list[str]:
    """The statements that fail because of it."""
    return [*ALL[fault][1].split(), *MISTAKES.get(fault, [])]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ProtocolServer, str, str]]:
    with protocol_server() as served:
        yield served


@pytest.fixture
def subjects(served: tuple[ProtocolServer, str, str]) -> Iterator[list[Subject]]:
    server, rest, grpc = served
    server.fault = RIGHT
    for model in server.models.values():
        model.loaded = True
    found = subjects_of(rest, grpc, list(server.models), may_reload=True)
    yield found
    for subject in found:
        subject.close()


def test_a_server_that_does_all_of_the_protocol_passes_each_statement(subjects: list[Subject]) -> None:
    others = [result for result in run(subjects) if result.outcome is not Outcome.PASSED]
    assert not [f"{result.statement.id}: {result.outcome.value}, {result.reason}" for result in others]


@pytest.mark.parametrize("fault", ALL)
def test_a_fault_is_caught(fault: str, served: tuple[ProtocolServer, str, str], subjects: list[Subject]) -> None:
    served[0].fault = ALL[fault][0]()
    results = run(subjects, [STATEMENTS[name] for name in caught_by(fault)])
    assert results
    assert not [f"{r.statement.id}: {r.outcome.value} {r.reason}" for r in results if r.outcome is not Outcome.FAILED]


def test_each_statement_is_caught_by_a_fault() -> None:
    assert not STATEMENTS.keys() - {name for fault in ALL for name in caught_by(fault)}


def test_each_statement_says_what_it_states_and_where() -> None:
    for statement in STATEMENTS.values():
        assert statement.text.endswith("."), statement.id
        assert len(statement.text) > 20, statement.id
        assert statement.section.url.startswith("https://"), statement.id
