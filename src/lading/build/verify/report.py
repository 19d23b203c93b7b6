"""The verification as one HTML page, with its plots."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray

from lading.artifact import Artifact
from lading.artifact.manifest import Baseline, Machine, Measurement, PackedVariant, RefusedVariant, Timing
from lading.build.records import Confusion, Verification, VerifiedVariant
from lading.build.verify.tables import machine_line, run_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


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
    """The content of a report, from a verification or a packed artifact."""

    name: str
    score_name: str
    rows: Sequence[Row]
    baselines: Sequence[Baseline]
    machine: Machine | None
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str] = ()
    """How it was measured."""
    doubts: Sequence[str] = ()
    """What the scores do not show."""
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
        doubts=verification.notes,
        confusions=[one for one in verification.confusions if one.variant == verification.chosen],
    )
    _write(content, path)


def write_artifact_report(artifact: Artifact, path: Path) -> None:
    """Write the report of a packed artifact from its manifest."""
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
        ("registry", source.checkpoint or ""),
        *((f"run {place}", run_line(source, place)) for place in range(len(source.runs))),
    ]
    content = Content(
        name=f"{manifest.name} {manifest.version}",
        score_name=manifest.score_name,
        rows=rows,
        baselines=manifest.baselines,
        machine=manifest.machine,
        facts=[(name, value) for name, value in facts if value],
        doubts=manifest.notes,
    )
    _write(content, path)


def _row(entry: VerifiedVariant | PackedVariant | RefusedVariant, chosen: str | None, *, passed: bool) -> Row:
    name = entry.variant.name
    return Row(name, entry.precision, entry.measurement, passed, name == chosen, entry.reasons)


def _write(content: Content, path: Path) -> None:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(resources.files("lading.build.verify").joinpath("report.html.j2").read_text())
    measured = [row for row in content.rows if row.measurement is not None]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        template.render(
            content=content,
            machine=machine_line(content.machine) if content.machine else "",
            splits=list(measured[0].measurement.scores) if measured and measured[0].measurement else [],
            plots=_plots(content, measured),
        )
    )


def _plots(content: Content, measured: Sequence[Row]) -> dict[str, str]:
    found = {row.name: row.measurement for row in measured if row.measurement is not None}
    if not found:
        return {}
    colours = {row.name: row.colour for row in measured}
    split = next(iter(next(iter(found.values())).scores))
    points = [
        (name, single.p50_ms, one.scores[split], colours[name]) for name, one in found.items() if (single := one.alone)
    ]
    chosen = next((row.name for row in content.rows if row.chosen), None)
    timings = {name: one.timings for name, one in found.items()}
    timings |= {baseline.name: baseline.timings for baseline in content.baselines}
    return {
        f"{content.score_name} against latency": score_against_latency(points, content.score_name),
        "Latency by batch size": latency_by_batch(timings, chosen),
        "File size": sizes({name: one.size_bytes / 2**20 for name, one in found.items()}, colours),
    }


INK = "#7d8590"
PASSED, REFUSED, CHOSEN = "#2f81f7", "#d29922", "#3fb950"


def score_against_latency(points: Sequence[tuple[str, float, float, str]], score_name: str) -> str:
    """Scatter variants: (name, p50 ms, score, colour)."""
    figure, axes = _axes("p50, ms at batch 1 on one thread", score_name)
    for name, latency, score, colour in points:
        axes.scatter([latency], [score], color=colour, s=46, zorder=3)
        axes.annotate(name, (latency, score), xytext=(5, 5), textcoords="offset points", color=INK, fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.18, y=0.2)
    _plain_numbers(axes.xaxis)
    return _svg(figure)


def latency_by_batch(timings: Mapping[str, Sequence[Timing]], chosen: str | None) -> str:
    """Lines of milliseconds per example over the batch size, on one thread."""
    figure, axes = _axes("batch size", "p50, ms an example on one thread")
    for name, found in timings.items():
        single = sorted((timing for timing in found if timing.threads == 1), key=lambda timing: timing.batch)
        style = {"color": CHOSEN, "linewidth": 2.6} if name == chosen else {"linewidth": 1.1}
        batches = [timing.batch for timing in single]
        axes.plot(batches, [timing.p50_ms / timing.batch for timing in single], marker="o", ms=3, label=name, **style)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    _plain_numbers(axes.xaxis)
    _plain_numbers(axes.yaxis)
    axes.legend(fontsize=7, labelcolor=INK, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure)


def sizes(megabytes: Mapping[str, float], colours: Mapping[str, str]) -> str:
    """Bars of file sizes in MiB."""
    figure, axes = _axes("MiB", "")
    names = list(megabytes)[::-1]
    bars = axes.barh(names, [megabytes[name] for name in names], color=[colours[name] for name in names])
    axes.bar_label(bars, fmt=" %.2f", color=INK, fontsize=8)
    axes.margins(x=0.15)
    return _svg(figure)


def _plain_numbers(axis: Axis) -> None:
    """Ticks like 1.5 instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axis.set_minor_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.tick_params(colors=INK, which="both", labelsize=8)
    axes.grid(alpha=0.25, color=INK)
    for side, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(side in ("left", "bottom"))
    return figure, axes


def _svg(figure: Figure) -> str:
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lading", "font.family": "sans-serif"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def plot_confusion(counts: NDArray[np.int64], labels: Sequence[str], path: Path, *, title: str) -> None:
    """Plot counts as shares of each true label, with the counts as text, to a PNG."""
    from matplotlib.figure import Figure

    size = 2.2 + 0.42 * len(labels)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    figure.savefig(path, dpi=110)
