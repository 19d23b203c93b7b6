"""How the server logs: structured lines, for a person or for a collector."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from typing import Literal, TextIO

# structlog imports rich where it finds it, to draw tracebacks in colour: a tenth of a server's start, and the log uses
# none of it.
_HIDDEN = "rich" not in sys.modules
if _HIDDEN:
    sys.modules["rich"] = None  # type: ignore[assignment]  # how Python notes that a module is not to be found
try:
    import structlog
finally:
    if _HIDDEN:
        del sys.modules["rich"]

from structlog.tracebacks import ExceptionDictTransformer  # noqa: E402
from structlog.typing import Processor  # noqa: E402


def configure_logging(level: str, form: Literal["console", "json"]) -> None:
    """Send structlog's lines to standard error, from this level on, in the form for a person or for a collector."""
    # Tracebacks without local variables: those hold what clients sent.
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


class _Forgiving(io.TextIOBase):
    """Drops a line that cannot be written: a full disk must not stop the answers."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()
