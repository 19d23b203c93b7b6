"""How the server logs: structured lines, for a person or for a collector."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from lading.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Send structlog's lines to standard error, in the format and from the level that the settings name."""
    # Tracebacks without local variables: those hold what clients sent.
    json_traceback = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    plain = structlog.dev.plain_traceback
    renderer: list[Processor] = (
        [json_traceback, structlog.processors.JSONRenderer()]
        if settings.log_format == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log_level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
