"""``lading serve``: this process, or several workers, until SIGINT or SIGTERM."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from lading.log import configure_logging
from lading.serve.ports import log, run_worker
from lading.settings import Settings, unknown_variables

if TYPE_CHECKING:
    pass


def serve(settings: Settings | None = None) -> None:
    """Serve until SIGINT or SIGTERM, then answer what was accepted and return.

    Raises:
        ArtifactError: an artifact cannot be served.
        ServerError: a port is taken, or the address is not this machine's.
        SettingsError: no artifact is named.
    """
    settings = settings or Settings()
    configure_logging(settings.log_level, settings.log_format)
    for sentence in unknown_variables():
        log.warning(sentence)
    if settings.workers > 1:
        from lading.serve.supervisor import supervise

        gc.enable()
        supervise(settings)
    else:
        run_worker(settings)
    log.info("stopped")
