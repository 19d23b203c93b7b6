"""Jokers: anything but a suit and a rank."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.card_decks.canvas import Canvas, Colour, placed
from models.card_decks.courts import SKIN
from models.card_decks.fonts import glyphs
from models.card_decks.patterns import Box, fill_pattern
from models.card_decks.shapes import bezier, ellipse, star
from models.card_decks.style import DeckStyle


def draw_joker(canvas: Canvas, style: DeckStyle) -> None:
    """Draw a joker into the middle of a card."""
    rng = np.random.default_rng([style.seed, 99])
    width, height = canvas.width, canvas.height
    box = (width * 0.14, height * 0.09, width * 0.86, height * 0.91)
    kind = style.joker
    if kind in ("picture", "mosaic", "stripes"):
        fill_pattern(canvas, box, style, kind, rng)
    if kind == "star":
        colour = style.palette[int(rng.integers(5))]
        size = width * rng.uniform(0.2, 0.34)
        canvas.fill(
            placed([star(int(rng.integers(5, 9)), rng.uniform(0.35, 0.6))], width / 2, height / 2, size, size), colour
        )
    elif kind == "suits":
        for suit, angle in zip(("hearts", "spades", "diamonds", "clubs"), rng.permutation(4), strict=True):
            x = width / 2 + width * 0.2 * np.cos(angle * np.pi / 2 + 0.5)
            y = height / 2 + width * 0.22 * np.sin(angle * np.pi / 2 + 0.5)
            canvas.fill(placed(style.shapes[suit], x, y, width * 0.13, width * 0.14), style.colours[suit])
    elif kind == "shapes":
        for _ in range(int(rng.integers(2, 6))):
            shape = ellipse(0, 0, 1, rng.uniform(0.4, 1)) if rng.random() < 0.6 else star(int(rng.integers(3, 8)), 0.5)
            x, y = width / 2 + width * rng.normal(0, 0.1), height / 2 + width * rng.normal(0, 0.13)
            size = width * rng.uniform(0.04, 0.26)
            canvas.fill(placed([shape], x, y, size, size), style.palette[int(rng.integers(5))])
    elif kind == "mask":
        _mask(canvas, style, rng)
    else:
        _jester(canvas, box, style, rng)
    _joker_words(canvas, style, rng)


def _jester(canvas: Canvas, box: Box, style: DeckStyle, rng: np.random.Generator) -> None:
    x0, y0, x1, y1 = box
    unit = (x1 - x0) * rng.uniform(0.3, 0.5)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2 + (y1 - y0) * rng.uniform(-0.08, 0.1)
    first, second = style.palette[0], style.palette[1]
    for side, colour in ((-1, first), (1, second)):
        horn = np.concatenate(
            [
                bezier((0, -0.3), (0.2, -1.5), (1.1, -1.3), (1.25, -0.55)),
                bezier((1.25, -0.55), (0.8, -0.9), (0.6, -0.3), (0.6, 0.1)),
            ]
        )
        canvas.fill(placed([horn * (side, 1)], x, y, unit * 0.8, unit * 0.8), colour)
        canvas.fill([ellipse(x + side * unit, y - unit * 0.42, unit * 0.1, unit * 0.1, 12)], style.palette[3])
    canvas.fill([ellipse(x, y, unit * 0.5, unit * 0.6)], SKIN[int(rng.integers(5))])
    for side in (-1, 1):
        canvas.fill([ellipse(x + side * unit * 0.2, y - unit * 0.1, unit * 0.06, unit * 0.08, 10)], (20, 20, 20))
    smile = bezier((-0.3, 0.2), (0.0, 0.55), (0.3, 0.2))
    canvas.line(placed([smile], x, y, unit, unit)[0], (170, 30, 40), max(1.0, unit * 0.05), closed=False)
    collar = star(int(rng.integers(6, 10)), 0.55)
    canvas.fill(placed([collar], x, y + unit * 0.95, unit * 0.7, unit * 0.4), second)
    body = np.array([(-0.4, 1.1), (0.4, 1.1), (0.75, 2.0), (-0.75, 2.0)])
    canvas.fill(placed([body], x, y, unit, unit * 0.75), first)


def _mask(canvas: Canvas, style: DeckStyle, rng: np.random.Generator) -> None:
    x, y, unit = canvas.width / 2, canvas.height / 2, canvas.width * rng.uniform(0.22, 0.34)
    for colour, low in ((style.palette[0], 0), (style.palette[2], 1)):
        outline = ellipse(x, y, unit * 0.8, unit * 1.1, 40)
        canvas.fill([outline[20 * low : 20 * low + 21]], colour)
    for side in (-1, 1):
        canvas.fill([ellipse(x + side * unit * 0.35, y - unit * 0.25, unit * 0.18, unit * 0.1)], style.paper)
    canvas.fill(
        [bezier((x - unit * 0.5, y + unit * 0.3), (x, y + unit * 1.1), (x + unit * 0.5, y + unit * 0.3))], style.paper
    )


def _joker_words(canvas: Canvas, style: DeckStyle, rng: np.random.Generator) -> None:
    if not style.joker_word:
        return
    colour = style.colours["hearts"] if rng.random() < 0.5 else style.colours["spades"]
    height = max(6, round(canvas.height * min(style.index_height, 0.1) * rng.uniform(0.45, 0.75)))
    x, y = canvas.width * style.index_x * 1.1, canvas.height * style.index_y
    arrangement = rng.choice(["stacked", "turned", "across", "below"], p=[0.5, 0.2, 0.15, 0.15])
    if arrangement == "below":
        mask = glyphs(style.lettering, style.joker_word, round(height * 1.6))
        canvas.stamp(mask, canvas.width / 2, canvas.height * 0.86, colour)
        return
    if arrangement == "stacked":
        for letter in style.joker_word:
            mask = glyphs(style.lettering, letter, height)
            y += height * 0.62
            _both_ways(canvas, mask, x, y, colour)
            y += height * 0.62
        return
    mask = glyphs(style.lettering, style.joker_word, height)
    if arrangement == "turned":
        mask = np.ascontiguousarray(np.rot90(mask, -1))
    _both_ways(canvas, mask, x + mask.shape[1] / 2 - height / 2, y + mask.shape[0] / 2, colour)


def _both_ways(canvas: Canvas, mask: NDArray[np.uint8], x: float, y: float, colour: Colour) -> None:
    canvas.stamp(mask, x, y, colour)
    canvas.stamp(mask, canvas.width - x, canvas.height - y, colour, upside_down=True)
