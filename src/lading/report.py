"""Measurements as one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from lading.artifact import Artifact, PackedVariant, RefusedVariant
from lading.measurement import Baseline, Machine, Measurement
from lading.report_plots import CHOSEN, PASSED, REFUSED, latency_by_batch, score_against_latency, sizes
from lading.verification import Confusion, Verification, VerifiedVariant
from lading.verification_table import alone, machine_line


@dataclass(frozen=True)
class Row:
    """One variant of the report's table."""

    name: str
    precision: str
    measurement: Measurement | None
    passed: bool
    chosen: bool
    reasons: tuple[str, ...]

    @property
    def verdict(self) -> str:
        return "chosen" if self.chosen else "passed" if self.passed else "refused"

    @property
    def colour(self) -> str:
        return {"chosen": CHOSEN, "passed": PASSED, "refused": REFUSED}[self.verdict]


@dataclass(frozen=True)
class Content:
    """What a report shows, from a verification or from a packed artifact."""

    name: str
    score_name: str
    rows: Sequence[Row]
    baselines: Sequence[Baseline]
    machine: Machine | None
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str] = ()
    confusions: Sequence[Confusion] = field(default_factory=tuple)


def write_report(verification: Verification, path: Path) -> None:
    """Write the report of a verification."""
    rows = [_row(entry, verification.chosen, passed=entry.passed) for entry in verification.variants]
    scored = ", ".join(f"{count} of {split}" for split, count in verification.splits.items())
    content = Content(
        name=verification.name,
        score_name=verification.score_name,
        rows=rows,
        baselines=verification.baselines,
        machine=verification.machine,
        facts=[("measured", verification.created), ("effort", verification.effort), ("examples scored", scored)],
        notes=[verification.method, *(f"{name}: {reason}." for name, reason in verification.absent.items())],
        confusions=[one for one in verification.confusions if one.variant == verification.chosen],
    )
    _write(content, path)


def write_artifact_report(artifact: Artifact, path: Path) -> None:
    """Write the report of a packed artifact, with what its manifest holds."""
    manifest = artifact.manifest
    rows = [_row(entry, manifest.chosen, passed=entry.passed) for entry in manifest.variants]
    rows += [_row(entry, manifest.chosen, passed=False) for entry in manifest.refused]
    source = manifest.provenance
    facts = [
        ("digest", artifact.digest),
        ("packed", source.created),
        ("model file", source.spec or "a wrapped ONNX file"),
        ("git commit", source.git_commit or ""),
        ("training run", source.run_id or ""),
        ("data", source.data_fingerprint or ""),
    ]
    content = Content(
        name=f"{manifest.name} {manifest.version}",
        score_name=manifest.score_name,
        rows=rows,
        baselines=manifest.baselines,
        machine=manifest.machine,
        facts=[(name, value) for name, value in facts if value],
    )
    _write(content, path)


def _row(entry: VerifiedVariant | PackedVariant | RefusedVariant, chosen: str | None, *, passed: bool) -> Row:
    name = entry.variant.name
    return Row(name, entry.precision, entry.measurement, passed, name == chosen, entry.reasons)


def _write(content: Content, path: Path) -> None:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(resources.files("lading").joinpath("report.html.j2").read_text())
    measured = [row for row in content.rows if row.measurement is not None]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        template.render(
            content=content,
            machine=machine_line(content.machine) if content.machine else "",
            splits=list(measured[0].measurement.scores) if measured and measured[0].measurement else [],
            plots=_plots(content, measured),
            alone=alone,
        )
    )


def _plots(content: Content, measured: Sequence[Row]) -> dict[str, str]:
    found = {row.name: row.measurement for row in measured if row.measurement is not None}
    if not found:
        return {}
    colours = {row.name: row.colour for row in measured}
    split = next(iter(next(iter(found.values())).scores))
    points = [
        (name, single.p50_ms, one.scores[split], colours[name])
        for name, one in found.items()
        if (single := alone(one.timings))
    ]
    chosen = next((row.name for row in content.rows if row.chosen), None)
    timings = {name: one.timings for name, one in found.items()}
    timings |= {baseline.name: baseline.timings for baseline in content.baselines}
    return {
        f"{content.score_name} against latency": score_against_latency(points, content.score_name),
        "Latency by batch size": latency_by_batch(timings, chosen),
        "File size": sizes({name: one.size_bytes / 2**20 for name, one in found.items()}, colours),
    }
