"""One form for every line of the log, also for those of libraries."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from lading.log import configure_logging


@pytest.fixture(autouse=True)
def _logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("asyncio", "uvicorn", "uvicorn.error"):  # Hydra and BentoML disable every logger that exists
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    root = logging.getLogger()
    handlers = root.handlers[:]
    yield
    root.handlers[:] = handlers
    structlog.reset_defaults()


def test_what_libraries_log_has_the_form_of_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().addHandler(logging.StreamHandler())
    for _ in range(2):
        configure_logging("info", "json")
    logging.getLogger("uvicorn.error").warning("ASGI %s failed", "x")
    logging.getLogger("uvicorn.error").info("not shown")
    try:
        raise ValueError("said")
    except ValueError:
        logging.getLogger("asyncio").exception("an error")
    first, second = map(json.loads, capfd.readouterr().err.splitlines())
    assert (first["event"], first["library"], first["level"]) == ("ASGI x failed", "uvicorn.error", "warning")
    assert (second["event"], second["library"], second["level"]) == ("an error", "asyncio", "error")
    assert second["exception"][0]["exc_value"] == "said"


def test_what_libraries_log_is_text_on_a_console(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", "console")
    logging.getLogger("uvicorn.error").warning("ASGI failed")
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "[warning  ] ASGI failed" in said
    assert "library=uvicorn.error" in said
