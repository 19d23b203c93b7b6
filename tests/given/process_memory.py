"""Memory of another process."""

from __future__ import annotations

import re
from pathlib import Path


def memory(pid: int, kind: str = "VmRSS") -> int:
    """Resident bytes now, or at the most so far with ``VmHWM``."""
    found = re.search(rf"{kind}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024
