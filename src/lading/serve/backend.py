"""What all calls of a process use: settings, models, engine, metrics and records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lading.record.exchange import Exchange
from lading.serve.engine.engine import Engine
from lading.serve.engine.repository import Repository
from lading.serve.kept_answers import KeptAnswers
from lading.serve.keys import Keys
from lading.serve.telemetry.metrics import Metrics
from lading.settings import Settings

if TYPE_CHECKING:
    from lading.serve.telemetry.otlp_metrics import OtlpMetrics
    from lading.serve.telemetry.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Backend:
    """One per process."""

    settings: Settings
    keys: Keys | None
    """``None``: no key is needed."""
    repository: Repository
    engine: Engine
    metrics: Metrics
    tracing: Tracing | None
    otlp_metrics: OtlpMetrics | None
    record: Callable[[Exchange], None] | None
    """Gets every answer of a model; ``None`` where nothing is recorded."""
    kept: KeptAnswers | None
    """Answers for retries; ``None`` where none are kept."""
    limits: tuple[int, int, int]
    """Pixels, bytes of decoding and JSON values that the budget of a request begins with."""

    @property
    def names_requests(self) -> bool:
        """Whether calls need a name and attributes for OpenTelemetry."""
        return self.tracing is not None or self.otlp_metrics is not None
