"""Outlines of the suits and of ornaments, as polygons in the box from -1 to 1 with y pointing down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
_STEPS = 14
_STEM = 0.07


def bezier(*control: tuple[float, float]) -> Points:
    """A quadratic or cubic curve through its first and last control point; float64 (steps, 2)."""
    levels = np.array(control, dtype=np.float64)[:, None, :]
    t = np.linspace(0, 1, _STEPS)[:, None]
    while len(levels) > 1:  # De Casteljau
        levels = levels[:-1] * (1 - t) + levels[1:] * t
    return np.asarray(levels[0])


def mirrored(left: Points) -> Points:
    """Close a left half into a shape that is symmetric about the vertical axis."""
    return np.concatenate([left, (left * (-1, 1))[::-1]])


def ellipse(x: float, y: float, rx: float, ry: float, steps: int = 28) -> Points:
    angle = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def star(points: int, inner: float, turn: float = -np.pi / 2) -> Points:
    angle = turn + np.arange(2 * points) * np.pi / points
    radius = np.where(np.arange(2 * points) % 2, inner, 1.0)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def heart(plump: float, notch: float, tip: float) -> list[Points]:
    """A heart: ``plump`` 0 to 1 widens the lobes, ``notch`` is how deep they part, ``tip`` how far the side bulges."""
    top = -1.0
    left = np.concatenate(
        [
            bezier((0, 1), (-0.22 - 0.5 * tip, 0.55), (-1, 0.25 + 0.2 * plump), (-1, -0.38)),
            bezier((-1, -0.38), (-1, top + 0.1 - 0.2 * plump), (-0.2 - 0.2 * plump, top - 0.15), (0, top + notch)),
        ]
    )
    return [mirrored(left)]


def spade(plump: float, notch: float, tip: float, foot: float, stem: float = _STEM) -> list[Points]:
    (upside_down,) = heart(plump, notch, tip)
    body = upside_down * (0.94, -0.82) + (0, -0.18)
    return [body, _stem(foot, 0.3, stem)]


def diamond(slim: float, curve: float) -> list[Points]:
    """A lozenge: ``slim`` narrows it, ``curve`` draws its sides in (positive) or out (negative)."""
    width = 1.0 - 0.35 * slim
    inner = 0.5 - 0.5 * curve
    return [
        np.concatenate(
            [
                bezier((0, 1), (-width * inner, inner), (-width, 0)),
                bezier((-width, 0), (-width * inner, -inner), (0, -1)),
                bezier((0, -1), (width * inner, -inner), (width, 0)),
                bezier((width, 0), (width * inner, inner), (0, 1)),
            ]
        )
    ]


def club(leaf: float, spread: float, foot: float, stem: float = _STEM) -> list[Points]:
    """Three round leaves of radius ``leaf`` and a stem, ``stem`` half its width where it begins."""
    return [
        ellipse(0, -1 + leaf, leaf, leaf),
        ellipse(-spread, 0.22, leaf, leaf),
        ellipse(spread, 0.22, leaf, leaf),
        ellipse(0, 0, leaf * 0.5, leaf * 0.5),
        _stem(foot, 0.0, stem),
    ]


def redrawn(shapes: list[Points], rng: np.random.Generator) -> list[Points]:
    """A suit as another hand would draw it: its left and right halves stay alike, unless the whole leans.

    Heights shift, widths swell or shrink on the way down, and what lies outside is lifted or lowered. The result fills
    the box from -1 to 1.
    """
    waves, phase = rng.normal(0, (0.09, 0.06, 0.05)), rng.uniform(0, np.pi, 3)
    lift, taper, shift = rng.normal(0, 0.12), rng.normal(0, 0.1), np.clip(rng.normal(0, 0.12), -0.25, 0.25)
    lean = rng.normal(0, 0.07) if rng.random() < 0.25 else 0.0

    def moved(points: Points) -> Points:
        x, y = points[:, 0], points[:, 1]
        width = 1 + taper * y + (waves * np.sin(np.outer(y, (1, 2, 3)) * np.pi / 2 + phase)).sum(axis=1)
        height = y + shift * (1 - y**2) + lift * (x**2 - 0.3) * (1 - np.abs(y))
        return np.stack([x * width + lean * y, height], axis=1)

    outlines = [moved(points) for points in shapes]
    every = np.concatenate(outlines)
    low, high = every.min(axis=0), every.max(axis=0)
    # Back into the box: a pip's size and width are the deck's.
    return [(points - (low + high) / 2) / ((high - low) / 2) for points in outlines]


def crown(points: int, height: float, round_tips: bool) -> list[Points]:
    """A crown over the segment from (-1, 0) to (1, 0), rising to ``-height``."""
    x = np.linspace(-1, 1, 2 * points - 1)
    y = np.where(np.arange(2 * points - 1) % 2, -0.45 * height, -height)
    band = np.array([(1.0, 0.25), (-1.0, 0.25)])
    shapes = [np.concatenate([np.stack([x * 1.08, y], axis=1), band])]
    if round_tips:
        shapes += [ellipse(tip * 1.08, -height, 0.12, 0.12, 10) for tip in x[::2]]
    return shapes


def _stem(foot: float, top: float, width: float) -> Points:
    return mirrored(np.concatenate([bezier((-foot, 1), (-width - 0.03, 0.9), (-width, top)), np.array([(0.0, top)])]))
