"""A verification as a terminal table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lading.measurement import Machine, Ratio, Timing
from lading.verification import Verification, VerifiedVariant

COLUMNS = ("variant", "verdict", "score", "agrees", "p50 ms", "p99 ms", "x fp32 (95 %)", "x torch", "MiB", "RAM")


def verification_table(verification: Verification) -> RenderableType:
    """Show every variant with its figures, the baselines, and why a variant was refused."""
    table = Table(title=_title(verification), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in COLUMNS:
        words = column in ("variant", "verdict")
        table.add_column(column, justify="left" if words else "right", overflow="fold", no_wrap=words)
    for entry in verification.variants:
        chosen = entry.variant.name == verification.chosen
        figures = _figures(entry, verification.split)
        table.add_row(entry.variant.name, _verdict(entry, chosen), *figures, style="bold" if chosen else None)
    for baseline in verification.baselines:
        single = alone(baseline.timings)
        table.add_row(baseline.name, "", "", "", _ms(single, "p50_ms"), _ms(single, "p99_ms"), style="dim")
    notes = [Text(f"{machine_line(verification.machine)}\n{verification.method}", style="dim")]
    notes += [Text(f"{name} was not measured: {reason}", style="dim") for name, reason in verification.absent.items()]
    return Group(table, _refusals(verification), *notes)


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


def _figures(entry: VerifiedVariant, split: str) -> tuple[str, ...]:
    found = entry.measurement
    if found is None:
        return ()
    single = alone(found.timings)
    return (
        f"{found.scores[split]:.4f}",
        f"{found.agreement:.2%}",
        _ms(single, "p50_ms"),
        _ms(single, "p99_ms"),
        _ratio(found.speedup),
        f"{found.speedup_torch.value:.2f}" if found.speedup_torch else "",
        f"{found.size_bytes / 2**20:.2f}",
        f"{found.peak_memory_bytes / 2**20:.0f}",
    )


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
