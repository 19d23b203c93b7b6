"""The documentation is true: its commands are accepted as they are written, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(?:sh|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """Every command of a page's shell blocks; one that goes on over several lines is one command."""
    found: list[str] = []
    for block in FENCE.findall(page.read_text()):
        waiting = ""
        for line in block.splitlines():
            waiting = f"{waiting}\n{line}" if waiting else line
            try:
                words = shlex.split(waiting, comments=True)
            except ValueError:
                continue
            found.extend([waiting] if words else [])
            waiting = ""
        assert not waiting, f"{page.name}: an unfinished command: {waiting}"
    return found
