"""``python -m lading``: the command line."""

from __future__ import annotations

from lading.cli import main

main()
