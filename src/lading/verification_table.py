"""A verification as a terminal table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from lading.measurement import Machine, Measurement, Ratio, Timing
from lading.verification import Verification, VerifiedVariant

WIDE = 108
"""Columns of the terminal from which all figures fit side by side; below, the ones that decide."""


class VerificationTable:
    """Every variant with its figures, the baselines, and why a variant was refused, as wide as the terminal allows."""

    def __init__(self, verification: Verification) -> None:
        self.verification = verification

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        found = self.verification
        yield _table(found, wide=options.max_width >= WIDE)
        yield _refusals(found)
        yield Text(f"{machine_line(found.machine)}\n{found.method}", style="dim")
        for name, reason in found.absent.items():
            yield Text(f"{name} was not measured: {reason}", style="dim")


def verification_table(verification: Verification) -> RenderableType:
    """Show a verification."""
    return VerificationTable(verification)


def _table(verification: Verification, *, wide: bool) -> Table:
    table = Table(title=_title(verification), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    names = ("score", "agrees", "p50 ms", "p99 ms", "x fp32 (95 %)", "x torch", "MiB", "RAM")
    for column in ("variant", "verdict", *(names if wide else ("score", "p50 ms", "x fp32", "x torch", "MiB"))):
        words = column in ("variant", "verdict")
        table.add_column(column, justify="left" if words else "right", no_wrap=True)
    for entry in verification.variants:
        chosen = entry.variant.name == verification.chosen
        figures = _figures(entry.measurement, verification.split, wide=wide) if entry.measurement else ()
        table.add_row(entry.variant.name, _verdict(entry, chosen), *figures, style="bold" if chosen else None)
    for baseline in verification.baselines:
        single = alone(baseline.timings)
        times = (_ms(single, "p50_ms"), _ms(single, "p99_ms")) if wide else (_ms(single, "p50_ms"),)
        table.add_row(baseline.name, "", "", *([""] if wide else []), *times, style="dim")
    return table


def alone(timings: Sequence[Timing]) -> Timing | None:
    """The timing of one request on one thread."""
    return next((timing for timing in timings if (timing.batch, timing.threads) == (1, 1)), None)


def machine_line(machine: Machine) -> str:
    """The machine in one line."""
    flags = f" ({', '.join(machine.flags)})" if machine.flags else ""
    torch = f", torch {machine.torch}" if machine.torch else ""
    return f"{machine.cpu}{flags}, {machine.cores} cores, ONNX Runtime {machine.onnxruntime}{torch}"


def _title(verification: Verification) -> str:
    counts = ", ".join(f"{count} examples of {split}" for split, count in verification.splits.items())
    return f"{verification.name}: {verification.score_name} on {counts}; times at batch 1 on one thread"


def _figures(found: Measurement, split: str, *, wide: bool) -> tuple[str, ...]:
    single = alone(found.timings)
    score, p50 = f"{found.scores[split]:.4f}", _ms(single, "p50_ms")
    torch = f"{found.speedup_torch.value:.2f}" if found.speedup_torch else ""
    size = f"{found.size_bytes / 2**20:.2f}"
    if not wide:
        return (score, p50, f"{found.speedup.value:.2f}", torch, size)
    memory = f"{found.peak_memory_bytes / 2**20:.0f}"
    agrees = f"{found.agreement:.2%}"
    return (score, agrees, p50, _ms(single, "p99_ms"), _ratio(found.speedup), torch, size, memory)


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
