"""Structured logging: coloured lines for people, or JSON for collectors."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from typing import Literal, TextIO

# If rich is installed, structlog imports it for coloured tracebacks. That takes a tenth of a server's start time, and
# this log does not use it.
_HIDDEN = "rich" not in sys.modules
if _HIDDEN:
    sys.modules["rich"] = None  # type: ignore[assignment]  # makes the import fail
try:
    import structlog
finally:
    if _HIDDEN:
        del sys.modules["rich"]

from structlog.tracebacks import ExceptionDictTransformer  # noqa: E402
from structlog.typing import Processor  # noqa: E402


def configure_logging(level: str, form: Literal["console", "json"]) -> None:
    """Log to standard error, from this level on, as text (``console``) or as JSON.

    Warnings and errors that libraries log are written in the same form.
    """
    # No local variables in tracebacks: they contain what clients sent.
    json_traceback = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    plain = structlog.dev.plain_traceback
    renderer: list[Processor] = (
        [json_traceback, structlog.processors.JSONRenderer()]
        if form == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(_Forgiving(sys.stderr)),  # type: ignore[arg-type]
    )
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if type(handler) in (logging.StreamHandler, _OfLibraries):  # from logging.basicConfig, or an earlier call
            root.removeHandler(handler)
    root.addHandler(_OfLibraries(logging.WARNING))


class _OfLibraries(logging.Handler):
    """Passes what libraries log to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger("lading.library")
        log.log(record.levelno, record.getMessage(), library=record.name, exc_info=record.exc_info)


class _Forgiving(io.TextIOBase):
    """Drops lines that cannot be written, because a full disk must not stop the server."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()
