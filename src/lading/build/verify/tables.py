"""The verification and the artifact as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import onnxruntime as ort
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from lading.artifact import MANIFEST, Artifact
from lading.artifact.graph_versions import graph_versions
from lading.artifact.manifest import (
    Machine,
    Manifest,
    Measurement,
    PackedVariant,
    Provenance,
    Ratio,
    RefusedVariant,
    Timing,
)
from lading.build.records import Verification, VerifiedVariant
from lading.preprocess import DEFAULT
from lading.signing.sign import signature_line
from lading.spec import TensorSpec

WIDE = 124
"""Columns of the terminal from which all figures fit side by side; below, the ones that decide."""


class VerificationTable:
    """Every variant with its figures, the baselines, and why a variant was refused, as wide as the terminal allows."""

    def __init__(self, verification: Verification) -> None:
        self.verification = verification

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        found = self.verification
        yield _table(found, wide=options.max_width >= WIDE)
        yield _refusals(found)
        for note in found.notes:
            yield Text(note, style="yellow")
        yield Text(f"{machine_line(found.machine)}\n{found.method}", style="dim")
        for name, reason in found.absent.items():
            yield Text(f"{name} was not measured: {reason}", style="dim")


def verification_table(verification: Verification) -> RenderableType:
    """Show a verification."""
    return VerificationTable(verification)


def _table(verification: Verification, *, wide: bool) -> Table:
    table = Table(title=_title(verification), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    names: tuple[str, ...] = (
        "score",
        "drop (95 %)",
        "agrees",
        "p50 ms",
        "p99 ms",
        "x fp32 (95 %)",
        "x torch",
        "MiB",
        "RAM",
    )
    names = names if wide else ("score", "drop to", "p50 ms", "x fp32", "x torch")
    for column in ("variant", "verdict", *names):
        words = column in ("variant", "verdict")
        table.add_column(column, justify="left" if words else "right", no_wrap=True)
    for entry in verification.variants:
        chosen = entry.variant.name == verification.chosen
        scores = [f"{entry.scores[verification.split]:.4f}"] if verification.split in entry.scores else []
        figures = _figures(entry.measurement, verification.split, wide=wide) if entry.measurement else scores
        table.add_row(entry.variant.name, _verdict(entry, chosen), *figures, style="bold" if chosen else None)
    for baseline in verification.baselines:
        single = baseline.alone
        times = (_ms(single, "p50_ms"), _ms(single, "p99_ms")) if wide else (_ms(single, "p50_ms"),)
        table.add_row(baseline.name, "", "", "", *([""] if wide else []), *times, style="dim")
    return table


def machine_line(machine: Machine) -> str:
    """The machine in one line."""
    flags = f" ({', '.join(machine.flags)})" if machine.flags else ""
    torch = f", torch {machine.torch}" if machine.torch else ""
    return f"{machine.cpu}{flags}, {machine.cores} cores, ONNX Runtime {machine.onnxruntime}{torch}"


def _title(verification: Verification) -> str:
    counts = ", ".join(f"{count} examples of {split}" for split, count in verification.splits.items())
    return f"{verification.name}: {verification.score_name} on {counts}; times at batch 1 on one thread"


def _figures(found: Measurement, split: str, *, wide: bool) -> tuple[str, ...]:
    single = found.alone
    score, p50 = f"{found.scores[split]:.4f}", _ms(single, "p50_ms")
    torch = f"{found.speedup_torch.value:.2f}" if found.speedup_torch else ""
    size = f"{found.size_bytes / 2**20:.2f}"
    drop = found.score_drop
    if not wide:
        return (score, f"{drop.high:.4f}" if drop else "", p50, f"{found.speedup.value:.2f}", torch)
    memory = f"{found.peak_memory_bytes / 2**20:.0f}"
    agrees = "\n".join([f"{found.agreement:.2%}", *_alike(found)])
    span = f"{drop.low:.4f} to {drop.high:.4f}" if drop else ""
    return (score, span, agrees, p50, _ms(single, "p99_ms"), _ratio(found.speedup), torch, size, memory)


def _alike(found: Measurement) -> list[str]:
    return [f"{one.measure} {one.mean:.3f} (least {one.least:.3f})" for one in found.similarity.values()]


def _verdict(entry: VerifiedVariant, chosen: bool) -> Text:
    if chosen:
        return Text("chosen", style="bold green")
    return Text("passed", style="green") if entry.passed else Text("refused", style="red")


def _refusals(verification: Verification) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1))
    for entry in verification.variants:
        if not entry.passed:
            table.add_row(Text(f"refused {entry.variant.name}:", style="red"), Text("; ".join(entry.reasons)))
    return table


def _ms(timing: Timing | None, field: str) -> str:
    return f"{getattr(timing, field):.3f}" if timing else ""


def _ratio(ratio: Ratio) -> str:
    if ratio.low == ratio.high == 1.0:
        return "1"
    return f"{ratio.value:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


DIGEST_LENGTH = 16
"""Hexadecimal digits shown of a file's SHA-256; loading compared all 64."""


def describe(artifact: Artifact) -> RenderableType:
    """Show a loaded artifact; its checksums matched, or it would not have loaded."""
    manifest = artifact.manifest
    reasons = _reasons(manifest)
    return Group(
        _identity(artifact),
        _tensors(manifest),
        _variants(artifact),
        *([reasons] if reasons else []),
        *([_pairs("What the scores do not show", [("", note) for note in manifest.notes])] if manifest.notes else []),
        _provenance(manifest),
        _files(artifact),
        _loads(artifact),
    )


def _identity(artifact: Artifact) -> Table:
    manifest = artifact.manifest
    rows = [
        ("model", f"{manifest.name} {manifest.version}"),
        ("description", manifest.description),
        ("path", str(artifact.path)),
        ("digest", artifact.digest),
        ("signed by", signature_line(artifact.path, MANIFEST)),
        ("serves", manifest.chosen),
        ("measured on", machine_line(manifest.machine) if manifest.machine else ""),
    ]
    return _pairs(f"Artifact {manifest.name}", rows)


def _tensors(manifest: Manifest) -> Table:
    table = _variants_table("Inputs and outputs", "", "name", "dtype", "shape", "labels", "meaning")
    for kind, tensors in (("input", manifest.inputs), ("output", manifest.outputs)):
        for tensor in tensors:
            shape = "[" + ", ".join(str(dim) for dim in tensor.shape) + "]"
            table.add_row(kind, tensor.name, tensor.dtype, Text(shape), _labels(tensor), Text(_meaning(tensor)))
    return table


def _variants(artifact: Artifact) -> Table:
    manifest = artifact.manifest
    scores = [packed.measurement.scores for packed in manifest.variants if packed.measurement]
    split = next(iter(scores[0]), "") if scores else ""
    what = f"{manifest.score_name} on {split}, agreement with fp32, times" if split else "times"
    columns = ("variant", "score", "agrees", "p50 ms", "x fp32", "x torch", "MiB", "")
    table = _variants_table(f"Variants: {what} at batch 1 on one thread", *columns)
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ignore"
    for column in table.columns[1:-1]:
        column.justify = "right"
    for packed in manifest.variants:
        size = (artifact.path / packed.file).stat().st_size
        table.add_row(*_variant_figures(packed, split, size), _variant_verdict(packed, manifest.chosen))
    for refused in manifest.refused:
        measured = refused.measurement.size_bytes if refused.measurement else None
        table.add_row(*_variant_figures(refused, split, measured), Text("refused", style="red"))
    for baseline in manifest.baselines:
        table.add_row(baseline.name, "", "", _ms(baseline.alone, "p50_ms"), "", "", "", Text("baseline", style="dim"))
    return table


def _variant_figures(entry: PackedVariant | RefusedVariant, split: str, size: int | None) -> tuple[str, ...]:
    mebibytes = "" if size is None else f"{size / 2**20:.2f}"
    measured: Measurement | None = entry.measurement
    name, precision = entry.variant.name, entry.precision
    name = name if precision in name or precision == "fp32" else f"{name} ({precision})"
    if measured is None:
        return (name, "", "", "", "", "", mebibytes)
    torch = measured.speedup_torch
    return (
        name,
        f"{measured.scores[split]:.4f}" if split in measured.scores else "",
        "\n".join([f"{measured.agreement:.1%}", *_alike(measured)]),
        _ms(measured.alone, "p50_ms"),
        f"{measured.speedup.value:.2f}",
        f"{torch.value:.2f}" if torch else "",
        mebibytes,
    )


def _variant_verdict(packed: PackedVariant, chosen: str) -> Text:
    if not packed.passed:
        return Text("refused", style="red")
    return Text("served", style="bold green") if packed.variant.name == chosen else Text("passed", style="green")


def _reasons(manifest: Manifest) -> Table | None:
    refused = [(entry.variant.name, entry.reasons) for entry in manifest.variants if not entry.passed]
    refused += [(entry.variant.name, entry.reasons) for entry in manifest.refused]
    return _pairs("Why refused", [(name, "; ".join(reasons)) for name, reasons in refused]) if refused else None


def _provenance(manifest: Manifest) -> Table:
    source = manifest.provenance
    commit = (
        f"{source.git_commit}{' (with uncommitted changes)' if source.git_dirty else ''}" if source.git_commit else ""
    )
    rows = [
        ("created", source.created),
        ("spec", source.spec or "wrapped ONNX file"),
        *_exporters(manifest),
        ("training run", source.run_id or ""),
        ("git commit", commit),
        ("data", source.data_fingerprint or ""),
        ("metrics", ", ".join(f"{name} {value:.4g}" for name, value in source.metrics.items())),
        ("registry", source.checkpoint or ""),
        *((f"run {place}", run_line(source, place)) for place in range(len(source.runs))),
        ("packages", ", ".join(f"{name} {version}" for name, version in sorted(source.packages.items()))),
    ]
    return _pairs("Provenance", rows)


def _exporters(manifest: Manifest) -> list[tuple[str, str]]:
    """What made the graphs: one line, or one for each variant whose graph something else made."""
    known = {packed.variant.name: packed.exporter for packed in manifest.variants}
    if len({*known.values()}) == 1:
        return [("graph", next(iter(known.values())))]
    return [(f"graph of {name}", exporter) for name, exporter in known.items()]


def run_line(source: Provenance, place: int) -> str:
    """One run behind the weights: what it did, to which weights, with which data, and what is not known about it."""
    run = source.runs[place]
    facts = [
        run.kind + (f" (share of the second {run.share:g})" if run.share is not None else ""),
        f"of run {' and '.join(map(str, run.parents))}" if run.parents else "",
        f"W&B run {run.run_id}" if run.run_id else "",
        f"{run.steps} steps" if run.steps is not None else "",
        f"data {run.data_fingerprint[:DIGEST_LENGTH]}" if run.data_fingerprint else "",
        f"weights {run.weights[:DIGEST_LENGTH]}" if run.weights else "",
        f"not recorded: {'; '.join(run.unknown)}" if run.unknown else "",
    ]
    return ", ".join(fact for fact in facts if fact)


def _files(artifact: Artifact) -> Table:
    table = _variants_table("Files", "file", "bytes", f"SHA-256, first {DIGEST_LENGTH} digits")
    table.columns[1].justify = "right"
    for name, digest in artifact.manifest.files.items():
        table.add_row(Text(name), f"{(artifact.path / name).stat().st_size:,}", digest[:DIGEST_LENGTH])
    return table


def _loads(artifact: Artifact) -> Table:
    """The versions of each graph, the oldest runtime that reads them, and whether the one here does."""
    rows = []
    for packed in artifact.manifest.variants:
        versions = graph_versions(artifact.path / packed.file)
        here = f"; too new for {ort.__version__}, which is installed" if versions.too_new_for(ort.__version__) else ""
        rows.append((packed.variant.name, f"{versions}, {versions.loads_in()}{here}"))
    return _pairs("Where it loads", rows)


def _labels(tensor: TensorSpec) -> str:
    names = tensor.labels or tensor.categories or ()
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} ... ({len(names)})"


def _meaning(tensor: TensorSpec) -> str:
    how = str(tensor.preprocess or DEFAULT) if tensor.content == "image" else ""
    longest = ""
    if tensor.padding is not None:
        cut = ", longer ones are cut" if tensor.padding.truncate else ""
        longest = f"at most {tensor.padding.max_length} {tensor.padded_dim}{cut}"
    parts = (tensor.content or "", how, longest, tensor.unit or "", tensor.description)
    return ", ".join(part for part in parts if part)


def _variants_table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _pairs(title: str, rows: Sequence[tuple[str, str]]) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE, show_header=False, pad_edge=False
    )
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows:
        if value:
            table.add_row(name, Text(value))
    return table
