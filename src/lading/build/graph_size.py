"""How large a graph may be."""

from __future__ import annotations

LARGEST_GRAPH = 2**31 - 2**24
"""Bytes of a graph with its weights. Protobuf writes no message of 2 GiB, and nodes are added to a graph on its way."""


def too_large(size: int) -> str | None:
    """Why a graph of so many bytes cannot be built, as a clause; ``None`` when it can."""
    if size <= LARGEST_GRAPH:
        return None
    return (
        f"its weights take {size / 1e9:.1f} GB, and a graph may have {LARGEST_GRAPH / 1e9:.1f} GB (2 GiB is the "
        "limit of ONNX's format): store them in float16, or serve a smaller network"
    )
