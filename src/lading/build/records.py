"""The records that each stage of a build writes next to its files, for the stage after it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from lading.artifact.manifest import Baseline, Machine, Measurement
from lading.errors import GateRefusedError, LadingError, QuantizationError
from lading.files import finish, write_atomically
from lading.spec import Frozen, Variant

EXPORT_FILE = "export.json"


class ExportedGraph(Frozen):
    """One exported module."""

    file: str
    """Name inside the export folder."""
    pruning: float
    """Share of the multiply-accumulates removed, 0 to 1."""
    checkpoint: str
    """File name of the weights."""
    max_difference: float
    """Largest absolute difference from torch over the sweep."""
    opset: int
    parameters: int
    exporter: str = "dynamo"
    """Which of torch's exporters made it: ``dynamo``, or the old one, ``torchscript``, where that failed."""
    made_by: str = ""
    """The exporter with its version, in words."""


def graph_file(pruning: float) -> str:
    """File name of a graph: ``fp32.onnx``, or ``pruned30.onnx`` for 0.3."""
    return f"pruned{round(pruning * 100)}.onnx" if pruning else "fp32.onnx"


class Export(Frozen):
    """The contents of ``export.json``."""

    graphs: tuple[ExportedGraph, ...]
    problems: dict[float, str] = Field(default_factory=dict)
    """Why there is no graph, by pruning share."""


def write_export(out: Path, graphs: Sequence[ExportedGraph], problems: Mapping[float, str] | None = None) -> None:
    """Write ``export.json``."""
    content = Export(graphs=tuple(graphs), problems=dict(problems or {}))
    write_atomically(out / EXPORT_FILE, content.model_dump_json(indent=2) + "\n")
    finish(out)


def read_export(folder: Path) -> Export:
    """Read ``export.json``.

    Raises:
        QuantizationError: the folder was not finished by ``lading export``.
    """
    file = folder / EXPORT_FILE
    try:
        return Export.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise QuantizationError(f"{folder} has no {EXPORT_FILE}: run `lading export` first") from None
    except ValueError as error:
        raise QuantizationError(f"{file} cannot be read: {error}; run `lading export` again") from error


VARIANTS_FILE = "variants.json"


class BuiltVariant(Frozen):
    """One variant after quantization: a graph, or the reason why there is none."""

    variant: Variant
    file: str | None
    """Name inside the variants folder."""
    precision: str
    problem: str | None = None
    """Why the variant could not be built."""
    exporter: str = ""
    """What made the float32 graph, in words."""
    details: dict[str, Any] = Field(default_factory=dict)
    """Nodes that stayed in float32, calibration, sensitivity table."""


def write_variants(folder: Path, variants: Sequence[BuiltVariant]) -> Path:
    """Write ``variants.json`` to the folder of the graphs, and return the folder."""
    content = [variant.model_dump(mode="json") for variant in variants]
    write_atomically(folder / VARIANTS_FILE, json.dumps(content, indent=2) + "\n")
    finish(folder)
    return folder


def read_variants(folder: Path) -> list[BuiltVariant]:
    """Read ``variants.json``.

    Raises:
        QuantizationError: the folder was not finished by ``lading quantize``.
    """
    file = folder / VARIANTS_FILE
    try:
        return [BuiltVariant.model_validate(entry) for entry in json.loads(file.read_text())]
    except FileNotFoundError:
        raise QuantizationError(f"{folder} has no {VARIANTS_FILE}: run `lading quantize` first") from None
    except (ValueError, TypeError, ValidationError) as error:
        raise QuantizationError(f"{file} cannot be read: {error}; run `lading quantize` again") from error


VERIFICATION_FILE = "verification.json"
Effort = Literal["quick", "full"]


class VerifiedVariant(Frozen):
    """One variant with its measurement and verdict."""

    variant: Variant
    file: str | None
    """Name inside the variants folder."""
    precision: str
    problem: str | None = None
    """Why it could not be built or run."""
    exporter: str = ""
    """What made the float32 graph, in words."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Score by split, also where nothing was timed."""
    measurement: Measurement | None = None
    passed: bool
    reasons: tuple[str, ...] = ()
    """Why the gates refused it; empty if it passed."""
    details: dict[str, Any] = Field(default_factory=dict)
    """Notes of the quantize stage: nodes kept in float32, sensitivity table."""


class Confusion(Frozen):
    """How often each label was predicted as each other, on the first test split."""

    variant: str
    output: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """Rows true, columns predicted."""


class Verification(Frozen):
    """All measurements of a model's variants, and the verdicts."""

    name: str
    score_name: str
    effort: Effort
    created: str
    """UTC, ISO 8601."""
    method: str
    """How the figures were measured, in words."""
    machine: Machine
    splits: dict[str, int]
    """Number of examples scored, by test split. The gates use the first."""
    variants: tuple[VerifiedVariant, ...]
    baselines: tuple[Baseline, ...] = ()
    absent: dict[str, str] = Field(default_factory=dict)
    """Why a baseline was not measured, by name of the baseline."""
    notes: tuple[str, ...] = ()
    """What the scores do not show, such as labels that no test example has."""
    chosen: str | None
    """The fastest variant that passed."""
    confusions: tuple[Confusion, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Verification:
        """Read ``verification.json``, given its path or its folder.

        Raises:
            LadingError: it is missing or corrupt.
        """
        file = path / VERIFICATION_FILE if path.is_dir() else path
        try:
            return cls.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            raise LadingError(f"there is no {file}: run `lading verify` first") from None
        except ValidationError as error:
            raise LadingError(f"{file} cannot be read: {error.errors()[0]['msg']}; run `lading verify` again") from None

    @property
    def split(self) -> str:
        """The test split that the gates use."""
        return next(iter(self.splits))


def require_passed(verification: Verification) -> None:
    """Check that no required variant was refused.

    Raises:
        GateRefusedError: one was; the message has each one with its reasons.
    """
    refused = [entry for entry in verification.variants if entry.variant.required and not entry.passed]
    if not refused:
        return
    lines = "\n".join(f"  - {entry.variant.name}: {'; '.join(entry.reasons)}" for entry in refused)
    raise GateRefusedError(f"{verification.name} may not be deployed: a required variant was refused\n{lines}")
