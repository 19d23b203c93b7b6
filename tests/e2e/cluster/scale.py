"""How much load the proofs on a cluster send."""

from __future__ import annotations

import os

FULL = os.environ.get("LADING_E2E") == "full"
"""Whether load lasts for as long as a claim about it needs."""
RATE = float(os.environ.get("LADING_E2E_RATE", "200" if FULL else "80"))
"""Requests per second."""
