"""Options and the fixture for ``pytest --pyargs oip_conformance.test_protocol``. Loaded by pytest where installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from oip_conformance.subject import Subject


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the command, with the prefix ``--oip``."""
    group = parser.getgroup("oip", "conformance with the Open Inference Protocol")
    group.addoption("--oip-rest", metavar="URL", help="URL of the REST API")
    group.addoption("--oip-grpc", metavar="HOST:PORT", help="address of the gRPC API")
    group.addoption("--oip-model", action="append", default=[], metavar="NAME", help="model to check; default: all")
    group.addoption("--oip-input", type=Path, metavar="FILE", help="JSON file with an inference request")
    group.addoption("--oip-extension", action="append", default=[], metavar="NAME", help="check an unlisted extension")
    group.addoption("--oip-header", action="append", default=[], metavar="'NAME: VALUE'", help="sent with each request")
    group.addoption("--oip-ca", type=Path, metavar="FILE", help="authority of the server's certificate, as PEM")
    group.addoption("--oip-may-reload", action="store_true", help="unload and load the models")


@pytest.fixture(scope="session")
def oip_subjects(request: pytest.FixtureRequest) -> Iterator[list[Subject]]:
    """The models to check, of the server that the options name."""
    from oip_conformance.connect import subjects_of

    def option(name: str) -> Any:
        return request.config.getoption(f"--oip-{name}")

    try:
        subjects = subjects_of(
            option("rest"),
            option("grpc"),
            option("model"),
            inputs=option("input"),
            extensions=option("extension"),
            headers=option("header"),
            authority=option("ca"),
            may_reload=option("may-reload"),
        )
    except ValueError as error:
        raise pytest.UsageError(f"{error} (as --oip-rest, --oip-grpc, --oip-model)") from None
    yield subjects
    for subject in subjects:
        subject.close()
