"""Runs one of ``tests/clients`` in a process of its own: several of them register the same messages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CLIENTS = Path(__file__).parents[1] / "clients"


def run_client(name: str, *arguments: str) -> None:
    """Run it, and fail with what it said when it fails."""
    command = [sys.executable, "-W", "ignore", str(CLIENTS / f"{name}.py"), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
