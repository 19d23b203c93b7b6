"""The server. structlog is imported here, before the rest, and without rich.

structlog draws tracebacks with rich where it finds it, and imports it with its syntax highlighting for that: a tenth of
a server's start, for what no line of its log uses.
"""

from __future__ import annotations

import sys

if "rich" in sys.modules:
    import structlog as structlog
else:
    sys.modules["rich"] = None  # type: ignore[assignment]  # how Python notes that a module is not to be found
    try:
        import structlog as structlog
    finally:
        del sys.modules["rich"]
