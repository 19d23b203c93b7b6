"""Progress is drawn in a terminal, and nowhere else."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lading.progress import progress_bars


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_are_drawn_in_a_terminal_alone(terminal: bool) -> None:
    stream = io.StringIO()
    with progress_bars(Console(file=stream, force_terminal=terminal, width=120)) as progress:
        task = progress.add_task("rows", total=2000)
        progress.advance(task, 500)
        progress.refresh()
        assert list(progress.track(range(3), description="layers")) == [0, 1, 2]
    drawn = stream.getvalue()
    assert ("rows" in drawn, "500/2000" in drawn, "layers" in drawn) == (terminal,) * 3
    assert bool(drawn) == terminal


def test_bars_go_to_standard_output_as_it_is_when_they_start(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as progress:
        progress.add_task("rows", total=1)
    assert capsys.readouterr().out == ""
