"""Lading beside its peers: the same ONNX model, the same photo, the same cores."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "bench"
"""Where the harness installs, writes and reads; nothing of it is kept in the repository."""
