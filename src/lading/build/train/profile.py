"""Profile some training steps: a trace, and a table of the operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile, record_function, schedule

WAIT, WARMUP, ACTIVE = 3, 2, 10
"""Steps to skip (the first are slower), to warm up the profiler, and to record."""
PHASES = ("loading", "forward", "backward", "optimizer")


class Profile(lightning.Callback):
    """Record some steps of a run's first epoch, then write ``trace.json.gz`` and ``operators.txt``.

    The steps are cut into phases: waiting for the loader, forward (with the loss), backward, and optimizer. While steps
    are recorded they are slower; the phases' shares are what to read.

    Args:
        out: folder to write to.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._profiler = profile(
            activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])],
            schedule=schedule(wait=WAIT, warmup=WARMUP, active=ACTIVE, repeat=1),
            on_trace_ready=self._write,
            with_stack=True,
        )
        self._phase: record_function | None = None
        self._written = False

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.current_epoch == 0 or not self._written:
            self._profiler.start()
            self._enter("loading")

    def on_train_batch_start(self, *_: Any) -> None:
        self._enter("forward")

    def on_before_backward(self, *_: Any) -> None:
        self._enter("backward")

    def on_after_backward(self, *_: Any) -> None:
        self._enter("optimizer")

    def on_train_batch_end(self, *_: Any) -> None:
        if self._phase is None:
            return
        self._leave()
        self._profiler.step()
        if self._written:
            self._profiler.stop()
        else:
            self._enter("loading")

    def on_train_epoch_end(self, *_: Any) -> None:
        if self._phase is not None:
            # The epoch was shorter than the recording: write what there is.
            self._leave()
            self._profiler.stop()

    def _enter(self, phase: str) -> None:
        if self._written:
            return
        self._leave()
        self._phase = record_function(phase)
        self._phase.__enter__()  # type: ignore[no-untyped-call]

    def _leave(self) -> None:
        if self._phase is not None:
            self._phase.__exit__(None, None, None)
            self._phase = None

    def _write(self, profiler: profile) -> None:
        self._written = True
        self.out.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(self.out / "trace.json.gz"))
        averages = profiler.key_averages()
        by = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        (self.out / "operators.txt").write_text(averages.table(sort_by=by, row_limit=40))
        console = Console()
        console.print(phase_table(averages), operator_table(averages))
        console.print(f"profile: {self.out} (trace.json.gz opens in Perfetto and speedscope)")


def phase_table(averages: Any) -> Table:
    """Milliseconds per step and share of each phase."""
    times = {average.key: average for average in averages if average.key in PHASES}
    total = sum(average.cpu_time_total for average in times.values())
    table = Table("phase", "ms a step", "share", title="where a step's time goes")
    for name in PHASES:
        if name in times:
            spent = times[name].cpu_time_total
            table.add_row(name, f"{spent / 1e3 / times[name].count:.2f}", f"{spent / total:.0%}")
    return table


def operator_table(averages: Any, rows: int = 12) -> Table:
    """The operators with the largest self time, in milliseconds over all recorded steps."""
    operators = [average for average in averages if average.key not in PHASES and not average.key.startswith("Prof")]
    operators.sort(key=lambda average: average.self_cpu_time_total, reverse=True)
    total = sum(average.self_cpu_time_total for average in operators) or 1
    table = Table("operator", "calls", "ms", "share", title="top operators, by their own time on the CPU")
    for average in operators[:rows]:
        spent = average.self_cpu_time_total
        table.add_row(average.key, str(average.count), f"{spent / 1e3:.1f}", f"{spent / total:.0%}")
    return table
