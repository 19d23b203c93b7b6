"""The server: ports, one inference call, and the engine that runs it."""

import lading.log  # noqa: F401  # before any other module imports structlog, which it does without rich
