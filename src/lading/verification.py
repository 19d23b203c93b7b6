"""What verify found out: the record that the table, the report and pack read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from lading.built_variant import Precision
from lading.errors import GateRefusedError, LadingError
from lading.measurement import Baseline, Machine, Measurement
from lading.spec import Frozen, Variant

FILE = "verification.json"
Effort = Literal["quick", "full"]


class VerifiedVariant(Frozen):
    """One variant, measured and judged."""

    variant: Variant
    file: str | None
    """Name inside the variants folder."""
    precision: Precision
    problem: str | None = None
    """Why it could not be built or run."""
    measurement: Measurement | None = None
    passed: bool
    reasons: tuple[str, ...] = ()
    """Why the gates refused it; empty when it passed."""
    details: dict[str, Any] = Field(default_factory=dict)
    """What the quantize stage noted: nodes kept in float32, the sensitivity table."""


class Confusion(Frozen):
    """How often each label was taken for each, on the first test split."""

    variant: str
    output: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """Rows true, columns predicted."""


class Verification(Frozen):
    """Everything measured of a model's variants, and what follows from it."""

    name: str
    score_name: str
    effort: Effort
    created: str
    """UTC, ISO 8601."""
    method: str
    """How the figures were taken, in words."""
    machine: Machine
    splits: dict[str, int]
    """Examples scored, by test split; the gates read the first."""
    variants: tuple[VerifiedVariant, ...]
    baselines: tuple[Baseline, ...] = ()
    absent: dict[str, str] = Field(default_factory=dict)
    """Why a baseline was not measured, by its name."""
    chosen: str | None
    """The fastest variant that passed."""
    confusions: tuple[Confusion, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Verification:
        """Read ``verification.json``, or the folder that holds it.

        Raises:
            LadingError: there is none, or it is torn.
        """
        file = path / FILE if path.is_dir() else path
        try:
            return cls.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            raise LadingError(f"there is no {file}: run `lading verify` first") from None
        except ValidationError as error:
            raise LadingError(f"{file} cannot be read: {error.errors()[0]['msg']}; run `lading verify` again") from None

    @property
    def split(self) -> str:
        """The test split that the gates read."""
        return next(iter(self.splits))


def require_passed(verification: Verification) -> None:
    """Stop when a required variant was refused.

    Raises:
        GateRefusedError: names each, with its reasons.
    """
    refused = [entry for entry in verification.variants if entry.variant.required and not entry.passed]
    if not refused:
        return
    lines = "\n".join(f"  - {entry.variant.name}: {'; '.join(entry.reasons)}" for entry in refused)
    raise GateRefusedError(f"{verification.name} may not be deployed: a required variant was refused\n{lines}")
