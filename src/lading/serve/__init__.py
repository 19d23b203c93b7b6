"""The server. structlog is imported here, before the rest, and without rich.

structlog draws tracebacks with rich where it finds it, and imports it with its syntax highlighting for that: a tenth of
a server's start, for what no line of its log uses. Batch scoring uses parsers and batches of this package in an
environment that has no structlog.
"""

from __future__ import annotations

import sys
from contextlib import suppress

if "rich" in sys.modules:
    with suppress(ModuleNotFoundError):
        import structlog as structlog
else:
    sys.modules["rich"] = None  # type: ignore[assignment]  # how Python notes that a module is not to be found
    try:
        with suppress(ModuleNotFoundError):
            import structlog as structlog
    finally:
        del sys.modules["rich"]
