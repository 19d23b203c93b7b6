"""Measurements: ``server`` compares Lading with its peers, ``studies`` holds one program for each decision."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORK = ROOT / os.environ.get("BENCH_WORK", "build/bench")
"""Environments, logs, request bodies and results. ``BENCH_WORK`` names another folder."""
