"""A flame graph of a profiler's trace, as one SVG that needs nothing else.

Widths are time; what was called stands below its caller. The trace is Chrome's format, which torch's profiler writes:
complete events (``ph`` is X) with ``ts`` and ``dur`` in microseconds, nested in a thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

WIDTH, ROW, LETTER = 1400, 17, 6.6
"""Of the picture, of a row, and of a letter of the labels, in pixels."""
KINDS = {"python_function", "cpu_op", "user_annotation", "kernel"}
NARROWEST = 0.001
"""What takes less than this share of the whole is left out."""


@dataclass
class Frame:
    """A function or operator under one caller; ``time`` in microseconds, of itself and all below it."""

    name: str
    time: float = 0.0
    below: dict[str, Frame] = field(default_factory=dict)


def merged(events: Iterable[Mapping[str, Any]]) -> Frame:
    """Nest the events of each thread by their times, and add up those of the same name under the same caller."""
    root = Frame("all")
    threads: dict[Any, list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("ph") == "X" and event.get("cat") in KINDS and event.get("dur", 0) > 0:
            threads.setdefault((event["pid"], event["tid"]), []).append(event)
    for thread in threads.values():
        # Of two that begin together the longer is the caller.
        thread.sort(key=lambda event: (float(event["ts"]), -float(event["dur"])))
        open_frames: list[tuple[float, Frame]] = []
        for event in thread:
            start, end = float(event["ts"]), float(event["ts"]) + float(event["dur"])
            # A phase begins inside one call and ends inside another: it belongs under what holds the whole of it.
            while open_frames and open_frames[-1][0] < end:
                open_frames.pop()
            above = open_frames[-1][1] if open_frames else root
            name = str(event["name"])
            frame = above.below.setdefault(name, Frame(name))
            frame.time += end - start
            if not open_frames:
                root.time += end - start
            open_frames.append((end, frame))
    return root


def flame_graph(events: Iterable[Mapping[str, Any]], *, title: str) -> str:
    """Draw the SVG.

    Args:
        events: ``traceEvents`` of a trace.
        title: shown above.
    """
    root = merged(events)
    boxes: list[str] = []
    depth = _draw(root, 0.0, 1, root.time, boxes)
    height = (depth + 2) * ROW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" style="font: 11px monospace">'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/><text x="4" y="12">{escape(title)}: '
        f"{root.time / 1e3:.1f} ms of all threads; hover for names and times</text>{''.join(boxes)}</svg>\n"
    )


def _draw(frame: Frame, left: float, row: int, whole: float, boxes: list[str]) -> int:
    if not whole or frame.time < NARROWEST * whole:
        return row - 1
    width = frame.time * WIDTH / whole
    letters = int((width - 4) / LETTER)
    label = frame.name if len(frame.name) <= letters else frame.name[: max(0, letters - 1)] + "…"
    shown = f'<text x="{left + 2:.1f}" y="{row * ROW + 12}">{escape(label)}</text>' if letters > 2 else ""
    hue = hashlib.sha256(frame.name.encode()).digest()[0] % 60
    tip = f"{frame.name}: {frame.time / 1e3:.2f} ms, {frame.time / whole:.1%}"
    boxes.append(
        f'<g><title>{escape(tip)}</title><rect x="{left:.1f}" y="{row * ROW}" width="{max(0.4, width - 0.5):.1f}" '
        f'height="{ROW - 1}" fill="hsl({hue},75%,72%)"/>{shown}</g>'
    )
    deepest = row
    for child in sorted(frame.below.values(), key=lambda one: one.time, reverse=True):
        deepest = max(deepest, _draw(child, left, row + 1, whole, boxes))
        left += child.time * WIDTH / whole
    return deepest
