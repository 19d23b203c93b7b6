"""The printed face of a card, flat and upright."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.card_decks.canvas import Canvas, Colour, placed
from models.card_decks.courts import draw_court
from models.card_decks.fonts import glyphs
from models.card_decks.jokers import draw_joker
from models.card_decks.labels import COURTS, INDEX, Card
from models.card_decks.patterns import Box, clouds, rectangle
from models.card_decks.shapes import ellipse, star
from models.card_decks.signs import draw_sign
from models.card_decks.style import INDEX_ONLY, DeckStyle, inverted

HEIGHT = 448
"""Pixels of a flat card: twice what a model sees, so that no photograph has to enlarge one."""
_THIRD = 1 / 3
_LAYOUTS: dict[int, tuple[tuple[float, float], ...]] = {
    2: ((0.5, 0), (0.5, 1)),
    3: ((0.5, 0), (0.5, 0.5), (0.5, 1)),
    4: ((0, 0), (1, 0), (0, 1), (1, 1)),
    5: ((0, 0), (1, 0), (0.5, 0.5), (0, 1), (1, 1)),
    6: ((0, 0), (1, 0), (0, 0.5), (1, 0.5), (0, 1), (1, 1)),
    7: ((0, 0), (1, 0), (0.5, 0.25), (0, 0.5), (1, 0.5), (0, 1), (1, 1)),
    8: ((0, 0), (1, 0), (0.5, 0.25), (0, 0.5), (1, 0.5), (0.5, 0.75), (0, 1), (1, 1)),
    9: (
        *((0, 0), (1, 0), (0, _THIRD), (1, _THIRD), (0.5, 0.5)),
        *((0, 2 * _THIRD), (1, 2 * _THIRD), (0, 1), (1, 1)),
    ),
    10: (
        *((0, 0), (1, 0), (0.5, _THIRD / 2), (0, _THIRD), (1, _THIRD)),
        *((0, 2 * _THIRD), (1, 2 * _THIRD), (0.5, 1 - _THIRD / 2), (0, 1), (1, 1)),
    ),
}
"""Where the pips of a number card stand in the field between the indexes: columns 0 to 1, rows 0 to 1."""
_COLUMNS = _LAYOUTS | {
    7: (*((0, row / 3) for row in range(4)), *((1, row / 2) for row in range(3))),
    8: tuple((column, row / 3) for column in (0, 1) for row in range(4)),
    9: tuple((column / 2, row / 2) for column in range(3) for row in range(3)),
    10: tuple((column, row / 4) for column in (0, 1) for row in range(5)),
}
"""Where they stand in decks that fill columns."""
_OFFSET = _LAYOUTS | {
    7: (*((column, row / 2) for column in (0, 1) for row in range(3)), (0.5, 0.75)),
    8: tuple((column, row / 3) for column in (0, 1) for row in range(4)),
    9: (*((column, row / 3) for column in (0, 1) for row in range(4)), (0.5, _THIRD / 2)),
}
"""Where they stand in decks whose nine is a ten without its lower middle pip."""
_FIELDS = {"columns": _COLUMNS, "offset": _OFFSET}


def draw_card(style: DeckStyle, card: Card) -> NDArray[np.uint8]:
    """Draw one card.

    Returns:
        RGBA, uint8 (448, 448 x aspect, 4); outside the rounded corners alpha is 0.
    """
    if style.inverse:
        style = inverted(style, card.suit)
    canvas = Canvas(round(HEIGHT * style.aspect), HEIGHT, style.paper)
    rng = np.random.default_rng([style.seed, 7])
    if style.texture:
        picture = clouds(rng, canvas.width, canvas.height).astype(np.float32)
        blended = canvas.pixels * (1 - style.texture) + picture * style.texture
        canvas.pixels = blended.astype(np.uint8)
    if style.frame is not None:
        _frame(canvas, style, style.frame)
    if card.suit == "joker":
        draw_joker(canvas, style)
    elif card.rank in COURTS:
        draw_court(canvas, style, card)
    elif card.rank == "ace":
        _ace(canvas, style, card)
    else:
        _pips(canvas, style, card)
    if card.suit != "joker":
        _indexes(canvas, style, card)
    return np.dstack([canvas.pixels, _rounded(canvas.width, canvas.height, style.corner)])


def draw_back(style: DeckStyle) -> NDArray[np.uint8]:
    """Draw the back of a deck's cards; RGBA like a face."""
    canvas = Canvas(round(HEIGHT * style.aspect), HEIGHT, style.paper)
    rng = np.random.default_rng([style.seed, 11])
    edge = round(HEIGHT * 0.03)
    inner = Canvas(canvas.width - 2 * edge, canvas.height - 2 * edge, style.palette[int(rng.integers(5))])
    step = int(rng.integers(10, 40))
    sides, inset = int(rng.integers(3, 6)), rng.uniform(0.3, 0.9)
    for row in range(0, inner.height + step, step):
        for column in range(0, inner.width + step, step):
            shape = star(sides, inset) if (row // step + column // step) % 2 else ellipse(0, 0, 0.8, 0.8, 12)
            inner.fill(placed([shape], column, row, step * 0.45, step * 0.45), style.palette[int(rng.integers(2)) + 1])
    canvas.pixels[edge:-edge, edge:-edge] = inner.pixels
    return np.dstack([canvas.pixels, _rounded(canvas.width, canvas.height, style.corner)])


def _pips(canvas: Canvas, style: DeckStyle, card: Card) -> None:
    if style.layout in INDEX_ONLY:
        # Decks that leave the field to one sign.
        if style.layout == "sign":
            rng = np.random.default_rng([style.seed, 17, card.pips if style.seed % 2 else 0])
            draw_sign(canvas, field_of(canvas), style, card.suit, rng)
            return
        if style.layout == "large":
            _pip(canvas, style, card, (0.5, 0.5), style.pip_size * 2.4)
        else:
            mask = glyphs(style.lettering, INDEX[card.rank], round(canvas.height * 0.22))
            canvas.stamp(mask, canvas.width / 2, canvas.height / 2, style.colours[card.suit])
        return
    size = style.pip_size * (0.6 if style.layout == "tight" else 1.0)
    left = max(0.5 - 0.26, style.index_x + style.index_height * 0.5 + size * 0.5 * style.aspect)
    left = min(left, 0.34) if style.layout != "tight" else 0.36
    top = 0.5 * size + (0.075 if style.layout != "tight" else 0.2)
    for column, row in _FIELDS.get(style.layout, _LAYOUTS)[card.pips]:
        x, y = left + column * (1 - 2 * left), top + row * (1 - 2 * top)
        flip = row > 0.5 and style.layout != "upright"
        _pip(canvas, style, card, (x, y), size, flip=flip)


def field_of(canvas: Canvas) -> Box:
    """The part of a card between its indexes."""
    return (canvas.width * 0.22, canvas.height * 0.16, canvas.width * 0.78, canvas.height * 0.84)


def _ace(canvas: Canvas, style: DeckStyle, card: Card) -> None:
    large = style.ace == "huge" or card.suit == "spades"
    size = style.pip_size * {"plain": 1.1, "rays": 1.6}.get(style.ace, 2.0) * (1.4 if large else 1.0)
    colour = style.colours[card.suit]
    x, y = canvas.width / 2, canvas.height / 2
    if style.ace == "framed":
        inset = float(np.random.default_rng([style.seed, 13]).uniform(0.13, 0.35)) * canvas.width
        canvas.line(rectangle((inset, inset, canvas.width - inset, canvas.height - inset)), style.palette[2], 2)
    if style.ace == "wreath":
        for angle in np.linspace(0, 2 * np.pi, 14, endpoint=False):
            dx, dy = np.cos(angle) * size * 0.85 * canvas.height, np.sin(angle) * size * 0.85 * canvas.height
            canvas.fill([ellipse(x + dx, y + dy, canvas.height * 0.02, canvas.height * 0.012)], style.palette[1])
    if style.ace == "rays":
        outer = canvas.height * size * 0.8
        canvas.line(placed([star(16, 0.8)], x, y, outer, outer)[0], style.palette[1], 2)
    if style.ace == "sign":
        draw_sign(canvas, field_of(canvas), style, card.suit, np.random.default_rng([style.seed, 19]))
        return
    if style.ace == "disc":
        canvas.fill([ellipse(x, y, size * 0.8 * canvas.height, size * 0.8 * canvas.height)], style.palette[1])
    if style.ace == "bars":
        for edge in (y - size * 0.8 * canvas.height, y + size * 0.8 * canvas.height):
            canvas.line(
                np.array([(canvas.width * 0.25, edge), (canvas.width * 0.75, edge)]), style.palette[1], 4, closed=False
            )
    _pip(canvas, style, card, (0.5, 0.5), size)
    if style.ace == "inlay":
        r = canvas.height * size / 2
        light: Colour = tuple(min(255, part + 90) for part in colour)  # type: ignore[assignment]
        canvas.fill(placed(style.shapes[card.suit], x, y, r * 0.45 * style.pip_width, r * 0.45), light)


def _pip(
    canvas: Canvas, style: DeckStyle, card: Card, at: tuple[float, float], size: float, *, flip: bool = False
) -> None:
    r = canvas.height * size / 2
    shapes = placed(
        style.shapes[card.suit], at[0] * canvas.width, at[1] * canvas.height, r * style.pip_width, r, flip=flip
    )
    canvas.fill(shapes, style.colours[card.suit])


def _indexes(canvas: Canvas, style: DeckStyle, card: Card) -> None:
    height = round(canvas.height * style.index_height)
    mask = glyphs(style.lettering, INDEX[card.rank], height, 0.72 if card.rank == "ten" else 1.0)
    x, y = style.index_x * canvas.width, style.index_y * canvas.height + height / 2
    x = max(x, mask.shape[1] / 2 + canvas.width * 0.03)
    corners = [(False, False), (True, True), (True, False), (False, True)][: style.corners]
    for right, bottom in corners:
        at_x, at_y = (canvas.width - x if right else x), (canvas.height - y if bottom else y)
        canvas.stamp(mask, at_x, at_y, style.ink or style.colours[card.suit], upside_down=bottom)
        if not style.index_pip:
            continue
        r = canvas.height * style.index_pip / 2
        if style.index_beside:
            dx, dy = (mask.shape[1] / 2 + r * 1.25) * (-1 if right else 1), 0.0
        else:
            dx, dy = 0.0, (height / 2 + canvas.height * style.index_gap + r) * (-1 if bottom else 1)
        pip = placed(style.shapes[card.suit], at_x + dx, at_y + dy, r * style.pip_width, r, flip=bottom)
        canvas.fill(pip, style.colours[card.suit])


def _frame(canvas: Canvas, style: DeckStyle, colour: Colour) -> None:
    inset = style.frame_inset * canvas.height
    right, bottom = canvas.width - inset, canvas.height - inset
    border = np.array([(inset, inset), (right, inset), (right, bottom), (inset, bottom)])
    canvas.line(border, colour, 1 + canvas.height * style.frame_inset * 0.2)


def _rounded(width: int, height: int, corner: float) -> NDArray[np.uint8]:
    r = round(corner * height)
    mask: NDArray[np.uint8] = np.zeros((height, width), np.uint8)
    cv2.rectangle(mask, (r, 0), (width - r - 1, height), 255, -1)
    cv2.rectangle(mask, (0, r), (width, height - r - 1), 255, -1)
    for x in (r, width - r - 1):
        for y in (r, height - r - 1):
            cv2.circle(mask, (x, y), r, 255, -1, lineType=cv2.LINE_AA)
    return mask
