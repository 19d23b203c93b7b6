"""The SLO of a model: a small file, and its default from the measurements of verify."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from lading.artifact import Artifact
from lading.errors import SpecError
from lading.serve.telemetry.request_series import SECONDS
from lading.spec import Frozen

EVERY_OTHER = "*"
"""Model name of the SLO for all models without their own."""
ROOM = 10
"""The threshold is this many times the measured p99 of a run: room for decoding, a short queue, and a slower CPU."""

MIN_MS = 10.0
"""Minimum threshold. Below it, network and scheduler decide, not the model."""


class Availability(Frozen):
    """Share of requests that are answered."""

    objective: float = Field(default=0.999, gt=0, lt=1)
    shed: Literal["bad", "left out"] = "bad"
    """How a refusal for overload (429) counts: as an error, or not at all."""


class Latency(Frozen):
    """Share of answered requests that take no longer than the threshold."""

    objective: float = Field(default=0.99, gt=0, lt=1)
    threshold_ms: float
    """A bound of the buckets of ``lading_request_duration_seconds``."""

    @field_validator("threshold_ms")
    @classmethod
    def _on_a_bucket(cls, value: float) -> float:
        if not any(math.isclose(value, bound * 1e3) for bound in SECONDS):
            bounds = ", ".join(f"{bound * 1e3:g}" for bound in SECONDS)
            raise ValueError(f"{value:g} ms is not a bound of the histogram; choose one of {bounds}")
        return value

    @property
    def bucket(self) -> str:
        """The label ``le`` of the threshold's bucket."""
        return repr(next(bound for bound in SECONDS if math.isclose(self.threshold_ms, bound * 1e3)))


class Slo(Frozen):
    """The content of an SLO file."""

    model: str = Field(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9._-]*)$")
    window_days: int = Field(default=30, ge=7, le=90)
    min_requests: int = Field(default=20, ge=1)
    """Minimum requests in the long window for an alert: one failure of three would be 33 %."""
    availability: Availability = Availability()
    latency: Latency

    @property
    def id(self) -> str:
        """The name in labels and files."""
        return "other" if self.model == EVERY_OTHER else self.model


def slo_for(artifact: Artifact) -> Slo:
    """The default SLO: 99.9 % answered, 99 % within :data:`ROOM` times the p99 that verify measured.

    The threshold is at least :data:`MIN_MS`.

    Raises:
        SpecError: the chosen variant has no measurements.
    """
    packed = artifact.variant()
    alone = packed.measurement.alone if packed.measurement else None
    if alone is None:
        raise SpecError(f"{artifact.path}: {packed.variant.name} was not measured; run `lading verify` first")
    wanted = max(MIN_MS, ROOM * alone.p99_ms) / 1e3
    bound = next((bound for bound in SECONDS if bound >= wanted), SECONDS[-1])
    return Slo(model=artifact.manifest.name, latency=Latency(threshold_ms=bound * 1e3))


def read_slo(file: Path) -> Slo:
    """Read an SLO file.

    Raises:
        SpecError: it is missing or invalid; the message names the field.
    """
    try:
        return Slo.model_validate(yaml.safe_load(file.read_text()))
    except OSError as error:
        raise SpecError(f"{file} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise SpecError(f"{file} is not YAML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if not place:
            raise SpecError(f"{file} is not an SLO; `lading monitor ARTIFACT` writes one to start from") from None
        raise SpecError(f"{file} is not a valid SLO, see {place!r}: {first['msg']}") from None


def slo_yaml(slo: Slo, note: str) -> str:
    """The file of an SLO, with a note about its origin."""
    return f"# {note}\n{yaml.safe_dump(slo.model_dump(), sort_keys=False)}"
