"""Letters and digits written with a broad pen: every seed is another hand, which no font file holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.card_decks.shapes import Points, bezier, ellipse

ALPHABET = frozenset("A1234567890JQK")
CAPITAL = 120
"""Pixels of a capital letter as it is written; :func:`models.card_decks.fonts.glyphs` shrinks it."""
_MARGIN = 40


@dataclass(frozen=True)
class _Choose:
    """True with the given probability, always the same for one letter of one hand."""

    rng: np.random.Generator

    def __call__(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)


def written(text: str, hand: int) -> NDArray[np.uint8]:
    """Write a word as a mask cut to its ink.

    Args:
        text: of ``ALPHABET``.
        hand: seed of the strokes' forms, of the pen's width and angle, and of serifs.

    Returns:
        uint8 (rows, columns), 255 where there is ink; a capital letter is about 120 pixels high.
    """
    rng = np.random.default_rng([hand, 23])
    wobble, serif = float(rng.uniform(0, 0.03)), bool(rng.random() < 0.3)
    nib = _nib(rng)
    gap = float(rng.uniform(0.05, 0.2))
    strokes: list[Points] = []
    width = 0.0
    for letter in text:
        own = np.random.default_rng([hand, ord(letter)])
        parts = [part + own.normal(0, wobble, size=2) for part in _strokes(letter, _Choose(own))]
        if serif:
            parts += [foot for part in parts for foot in _serifs(part)]
        strokes += [part + np.array([width, 0.0]) for part in parts]
        width += max(float(part[:, 0].max()) for part in parts) + gap + nib.shape[1] / CAPITAL
    paper = np.zeros((CAPITAL + 2 * _MARGIN + 20, round(width * CAPITAL) + 2 * _MARGIN + 40), np.uint8)
    for stroke in strokes:
        line = np.round(stroke * CAPITAL + _MARGIN).astype(np.int32)
        cv2.polylines(paper, [line], False, 255, 2, lineType=cv2.LINE_AA)
    ink = cv2.dilate(paper, nib)
    x, y, columns, rows = cv2.boundingRect(ink)
    return np.asarray(ink[y : y + rows, x : x + columns])


def _nib(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A round, broad or pointed pen: an ellipse, 3 to 26 pixels wide, at an angle."""
    long = float(rng.uniform(5, 26))
    short = long * float(rng.choice([1.0, rng.uniform(0.25, 1.0)]))
    side = int(long) + 3
    nib: NDArray[np.uint8] = np.zeros((side, side), np.uint8)
    axes = (max(1, round(long / 2)), max(1, round(short / 2)))
    cv2.ellipse(nib, (side // 2, side // 2), axes, float(rng.uniform(-45, 30)), 0, 360, 1, -1)
    return nib


def _serifs(stroke: Points) -> list[Points]:
    """Short level lines at the ends of a stroke that begins or ends at the top or the foot of a letter."""
    half = np.array([0.11, 0.0])
    ends = [end for end in (stroke[0], stroke[-1]) if min(abs(end[1]), abs(end[1] - 1)) < 0.06]
    return [np.array([end - half, end + half]) for end in ends]


def _line(*points: tuple[float, float]) -> Points:
    return np.array(points, dtype=np.float64)


def _strokes(letter: str, choose: _Choose) -> list[Points]:
    """One letter as strokes in a box one high, y pointing down, with the forms that printers vary."""
    return _FORMS[letter](choose)


def _ace(choose: _Choose) -> list[Points]:
    flat = 0.07 if choose(0.4) else 0.0
    bar = 0.72 if choose(0.4) else 0.6
    return [
        _line((0, 1), (0.36 - flat, 0), (0.36 + flat, 0), (0.72, 1)),
        _line((0.36 * (1 - bar) + 0.02, bar), (0.36 * (1 + bar) - 0.02, bar)),
    ]


def _two(choose: _Choose) -> list[Points]:
    top = bezier((0.02, 0.28), (0.02, -0.1), (0.6, -0.1), (0.58, 0.28))
    if choose(0.5):
        return [top, bezier((0.58, 0.28), (0.58, 0.52), (0.12, 0.72), (0, 1)), _line((0, 1), (0.6, 1))]
    return [top, _line((0.58, 0.28), (0.5, 0.45), (0, 1), (0.6, 1))]


def _three(choose: _Choose) -> list[Points]:
    belly = bezier((0.22, 0.44), (0.76, 0.42), (0.72, 1.0), (0.28, 1.0))
    tail = bezier((0.28, 1.0), (0.12, 1.0), (0.03, 0.9), (0, 0.8))
    if choose(0.4):
        return [_line((0.02, 0), (0.56, 0), (0.22, 0.44)), belly, tail]
    upper = bezier((0.03, 0.18), (0.1, -0.08), (0.6, -0.08), (0.56, 0.22))
    return [upper, bezier((0.56, 0.22), (0.54, 0.42), (0.34, 0.44), (0.22, 0.44)), belly, tail]


def _four(choose: _Choose) -> list[Points]:
    if choose(0.25):
        return [_line((0.26, 0), (0, 0.62), (0.64, 0.62)), _line((0.46, 0.3), (0.46, 1))]
    bar = 0.66 if choose(0.5) else 0.76
    return [_line((0.46, 1), (0.46, 0), (0, bar), (0.66, bar))]


def _five(choose: _Choose) -> list[Points]:
    lean = 0.0 if choose(0.5) else 0.06
    return [
        _line((0.56, 0), (0.08 + lean, 0), (0.04, 0.46)),
        bezier((0.04, 0.46), (0.24, 0.3), (0.62, 0.36), (0.6, 0.68)),
        bezier((0.6, 0.68), (0.58, 1.08), (0.12, 1.08), (0, 0.85)),
    ]


def _six(choose: _Choose) -> list[Points]:
    bowl = ellipse(0.31, 0.69, 0.3, 0.31)
    bowl = np.concatenate([bowl, bowl[:1]])
    if choose(0.35):
        return [_line((0.44, 0), (0.06, 0.56)), bowl]
    return [bezier((0.55, 0.08), (0.3, -0.12), (0.01, 0.15), (0.01, 0.69)), bowl]


def _seven(choose: _Choose) -> list[Points]:
    parts = [_line((0, 0), (0.6, 0))]
    parts.append(_line((0.6, 0), (0.2, 1)) if choose(0.5) else bezier((0.6, 0), (0.3, 0.4), (0.24, 0.7), (0.24, 1)))
    return [*parts, _line((0.16, 0.5), (0.54, 0.5))] if choose(0.15) else parts


def _eight(choose: _Choose) -> list[Points]:
    waist = 0.47 if choose(0.5) else 0.42
    upper, lower = ellipse(0.31, waist / 2, 0.25, waist / 2), ellipse(0.31, (1 + waist) / 2, 0.3, (1 - waist) / 2)
    return [np.concatenate([upper, upper[:1]]), np.concatenate([lower, lower[:1]])]


def _nine(choose: _Choose) -> list[Points]:
    return [(0.62, 1.0) - part for part in _six(choose)]


def _one(choose: _Choose) -> list[Points]:
    parts = [_line((0.02, 0.2), (0.2, 0), (0.2, 1))] if choose(0.7) else [_line((0.1, 0), (0.1, 1))]
    return [*parts, _line((0.04, 1), (0.36, 1))] if choose(0.2) else parts


def _zero(choose: _Choose) -> list[Points]:
    ring = ellipse(0.3, 0.5, 0.3 if choose(0.5) else 0.24, 0.5)
    return [np.concatenate([ring, ring[:1]])]


def _jack(choose: _Choose) -> list[Points]:
    hook = bezier((0.44, 0.68), (0.44, 1.1), (0.02, 1.1), (0.0, 0.72 if choose(0.5) else 0.84))
    stem = _line((0.44, 0), (0.44, 0.68))
    return [_line((0.18, 0), (0.62, 0)), stem, hook] if choose(0.35) else [stem, hook]


def _queen(choose: _Choose) -> list[Points]:
    ring = ellipse(0.36, 0.5, 0.36 if choose(0.6) else 0.3, 0.5)
    ring = np.concatenate([ring, ring[:1]])
    if choose(0.5):
        return [ring, _line((0.42, 0.7), (0.72, 1.06))]
    if choose(0.5):
        return [ring, bezier((0.2, 0.84), (0.4, 0.7), (0.5, 1.1), (0.76, 1.02))]
    return [ring, bezier((0.36, 1.0), (0.4, 1.16), (0.6, 1.16), (0.76, 1.12))]


def _king(choose: _Choose) -> list[Points]:
    stem = _line((0, 0), (0, 1))
    if choose(0.5):
        return [stem, _line((0.6, 0), (0, 0.62)), _line((0.2, 0.42), (0.64, 1))]
    return [stem, _line((0.56, 0), (0.03, 0.5), (0.62, 1))]


_FORMS: dict[str, Callable[[_Choose], list[Points]]] = {
    "A": _ace, "2": _two, "3": _three, "4": _four, "5": _five, "6": _six, "7": _seven, "8": _eight, "9": _nine,
    "1": _one, "0": _zero, "J": _jack, "Q": _queen, "K": _king,
}  # fmt: skip
