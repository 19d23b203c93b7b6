"""Where commands print. rich is imported when the first line is printed; a server that starts prints none."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@functools.cache
def console() -> Console:
    """Standard output, for results."""
    from rich.console import Console

    return Console()


@functools.cache
def errors() -> Console:
    """Standard error, for errors."""
    from rich.console import Console

    return Console(stderr=True)
