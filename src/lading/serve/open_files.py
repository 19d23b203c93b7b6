"""How many files a process may have open, which bounds the connections that it can hold."""

from __future__ import annotations

import resource

OWN = 128
"""What the server needs beside connections: libraries, models, logs, gRPC's own."""


def raise_limit() -> int:
    """Raise the soft limit to the hard one, as every server of many connections does, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return 2**31 if hard == resource.RLIM_INFINITY else hard


def most_connections(wanted: int) -> int:
    """As many connections as are wanted, or as the limit allows: one too many is then refused and not left waiting."""
    return max(1, min(wanted, raise_limit() - OWN))
