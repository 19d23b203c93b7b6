"""An artifact as tables: what is in it, how each variant did, and where it came from."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lading.artifact import Artifact, Manifest, PackedVariant, RefusedVariant
from lading.measurement import Machine, Measurement, Timing
from lading.spec import TensorSpec

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
        _provenance(manifest),
        _files(artifact),
    )


def _identity(artifact: Artifact) -> Table:
    manifest = artifact.manifest
    rows = [
        ("model", f"{manifest.name} {manifest.version}"),
        ("description", manifest.description),
        ("path", str(artifact.path)),
        ("digest", artifact.digest),
        ("serves", manifest.chosen),
        ("measured on", _machine(manifest.machine) if manifest.machine else ""),
    ]
    return _pairs(f"Artifact {manifest.name}", rows)


def _tensors(manifest: Manifest) -> Table:
    table = _table("Inputs and outputs", "", "name", "dtype", "shape", "labels", "meaning")
    for kind, tensors in (("input", manifest.inputs), ("output", manifest.outputs)):
        for tensor in tensors:
            shape = "[" + ", ".join(str(dim) for dim in tensor.shape) + "]"
            table.add_row(kind, tensor.name, tensor.dtype, Text(shape), _labels(tensor), Text(_meaning(tensor)))
    return table


def _variants(artifact: Artifact) -> Table:
    manifest = artifact.manifest
    split = next((name for packed in manifest.variants if packed.measurement for name in packed.measurement.scores), "")
    what = f"{manifest.score_name} on {split}, agreement with fp32, times" if split else "times"
    columns = ("variant", "score", "agrees", "p50 ms", "x fp32", "x torch", "MiB", "")
    table = _table(f"Variants: {what} at batch 1 on one thread", *columns)
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ignore"
    for column in table.columns[1:-1]:
        column.justify = "right"
    for packed in manifest.variants:
        size = (artifact.path / packed.file).stat().st_size
        table.add_row(*_figures(packed, split, size), _verdict(packed, manifest.chosen))
    for refused in manifest.refused:
        measured = refused.measurement.size_bytes if refused.measurement else None
        table.add_row(*_figures(refused, split, measured), Text("refused", style="red"))
    for baseline in manifest.baselines:
        table.add_row(baseline.name, "", "", _p50(baseline.timings), "", "", "", Text("baseline", style="dim"))
    return table


def _figures(entry: PackedVariant | RefusedVariant, split: str, size: int | None) -> tuple[str, ...]:
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
        f"{measured.agreement:.1%}",
        _p50(measured.timings),
        f"{measured.speedup.value:.2f}",
        f"{torch.value:.2f}" if torch else "",
        mebibytes,
    )


def _verdict(packed: PackedVariant, chosen: str) -> Text:
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
        ("training run", source.run_id or ""),
        ("git commit", commit),
        ("data", source.data_fingerprint or ""),
        ("metrics", ", ".join(f"{name} {value:.4g}" for name, value in source.metrics.items())),
        ("packages", ", ".join(f"{name} {version}" for name, version in sorted(source.packages.items()))),
    ]
    return _pairs("Provenance", rows)


def _files(artifact: Artifact) -> Table:
    table = _table("Files", "file", "bytes", f"SHA-256, first {DIGEST_LENGTH} digits")
    table.columns[1].justify = "right"
    for name, digest in artifact.manifest.files.items():
        table.add_row(Text(name), f"{(artifact.path / name).stat().st_size:,}", digest[:DIGEST_LENGTH])
    return table


def _machine(machine: Machine) -> str:
    flags = f" ({', '.join(machine.flags)})" if machine.flags else ""
    return f"{machine.cpu}{flags}, {machine.cores} cores, ONNX Runtime {machine.onnxruntime}"


def _labels(tensor: TensorSpec) -> str:
    if not tensor.labels:
        return ""
    shown = ", ".join(tensor.labels[:4])
    return shown if len(tensor.labels) <= 4 else f"{shown} ... ({len(tensor.labels)})"


def _meaning(tensor: TensorSpec) -> str:
    return ", ".join(part for part in (tensor.content or "", tensor.unit or "", tensor.description) if part)


def _p50(timings: Sequence[Timing]) -> str:
    return next((f"{t.p50_ms:.3f}" for t in timings if t.batch == 1 and t.threads == 1), "")


def _table(title: str, *columns: str) -> Table:
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
