"""Progress bars: one look for every command, on standard output, and silent where that is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

SPEED_AFTER = 1000
"""Items from which a bar also shows items per second; for fewer, each takes long enough to watch."""


@contextmanager
def progress_bars(console: Console | None = None) -> Iterator[Progress]:
    """Show bars while the block runs, and remove them at its end.

    Add a bar with ``add_task(description, total=...)`` and move it with ``advance``, or wrap a sequence in ``track``.

    Args:
        console: where to draw; default: standard output as it is now. Quantizers print, so their output is redirected
            while they run, and the bars must keep the stream from before.
    """
    # Imported here, because modules that serve may import this one and must not load rich.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class SpeedColumn(ProgressColumn):
        """Items per second of a long bar."""

        def render(self, task: Task) -> Text:
            long = task.total is not None and task.total >= SPEED_AFTER
            return Text(f"{task.speed:,.0f}/s" if long and task.speed else "")

    console = console or Console(file=sys.stdout)
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        SpeedColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress
