"""Render the diagrams of ``docs/diagrams`` with Graphviz.

Each SVG contains the SHA-256 of its source. Only a changed source is drawn again, so another version of Graphviz does
not change the files, and ``make check-generated`` works without Graphviz.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

DIAGRAMS = Path(__file__).parents[1] / "docs" / "diagrams"


def drawn_from(source: Path) -> str:
    """The comment in the SVG of a source."""
    return f"<!-- Drawn from {source.name}, SHA-256 {hashlib.sha256(source.read_bytes()).hexdigest()} -->"


def is_current(source: Path) -> bool:
    """Whether the SVG next to a ``.dot`` file was drawn from its current content."""
    picture = source.with_suffix(".svg")
    return picture.is_file() and drawn_from(source) in picture.read_text()


def render(folder: Path = DIAGRAMS) -> None:
    """Draw the SVG of every ``.dot`` file that changed.

    Raises:
        RuntimeError: a source changed, and Graphviz is not installed.
    """
    for source in sorted(folder.glob("*.dot")):
        if is_current(source):
            continue
        dot = shutil.which("dot")
        if dot is None:
            raise RuntimeError(f"{source.name} changed: install Graphviz (apt-get install graphviz) to draw it again")
        made = subprocess.run([dot, "-Tsvg", str(source)], capture_output=True, text=True, check=True).stdout
        head, _, rest = made.partition("<svg")
        source.with_suffix(".svg").write_text(f"{head}{drawn_from(source)}\n<svg{rest}")
