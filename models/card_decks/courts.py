"""Pictures on court cards: made up, and never the same in two decks.

What tells a jack from a queen in any real deck is the letter in the corner; the art is there so that a model learns not
to depend on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.card_decks.canvas import Canvas, Colour, placed
from models.card_decks.fonts import glyphs
from models.card_decks.labels import COURTS, INDEX, RANKS, Card
from models.card_decks.patterns import Box, fill_pattern, mix, rectangle
from models.card_decks.shapes import Points, bezier, crown, ellipse, star
from models.card_decks.signs import draw_sign
from models.card_decks.style import DeckStyle

SKIN: tuple[Colour, ...] = ((250, 222, 196), (236, 190, 150), (190, 135, 95), (120, 80, 55), (250, 245, 235))
_HAIR: tuple[Colour, ...] = ((240, 200, 80), (90, 55, 30), (30, 25, 25), (200, 200, 200), (160, 70, 30))


def draw_court(canvas: Canvas, style: DeckStyle, card: Card) -> None:
    """Draw a jack, queen or king into the middle of a card."""
    rng = np.random.default_rng([style.seed, RANKS.index(card.rank), len(card.suit)])
    width, height = canvas.width, canvas.height
    inset = float(rng.uniform(0.13, 0.27)) if style.court_frame else float(rng.uniform(0.1, 0.16))
    box = (width * inset, height * inset * 0.62, width * (1 - inset), height * (1 - inset * 0.62))
    art = Canvas(width, height, style.paper)
    kind = style.court
    if style.disguised and kind not in FLAT:
        # A queen may wear a beard: only the index tells.
        card = Card(card.suit, COURTS[int(rng.integers(len(COURTS)))])
    if kind in ("mosaic", "stripes", "picture"):
        fill_pattern(art, box, style, kind, rng)
        if rng.random() < 0.6:
            _figure(art, box, style, card, rng, outline=False)
    elif kind in FLAT:
        FLAT[kind](art, box, style, card, rng)
    else:
        if kind == "panel" or rng.random() < 0.3:
            art.fill([rectangle(box)], mix(style.palette[int(rng.integers(5))], style.paper, 0.6))
        _figure(art, box, style, card, rng, outline=kind == "outline")
    if kind not in (*FLAT, "picture"):
        art.rotate_half()
    x0, y0, x1, y1 = (round(edge) for edge in box)
    canvas.pixels[y0:y1, x0:x1] = art.pixels[y0:y1, x0:x1]
    if style.court_frame:
        canvas.line(rectangle(box), style.palette[2] if rng.random() < 0.5 else (30, 30, 30), rng.uniform(1, 3))
    if kind not in FLAT and rng.random() < 0.85:
        _corner_pips(canvas, box, style, card, float(rng.uniform(0.05, 0.13)))


def _figure(canvas: Canvas, box: Box, style: DeckStyle, card: Card, rng: np.random.Generator, *, outline: bool) -> None:
    """The upper half of a crowned person, in the upper half of the box."""
    x0, y0, x1, y1 = box
    middle, waist = (x0 + x1) / 2 + (x1 - x0) * rng.uniform(-0.06, 0.06), (y0 + y1) / 2
    unit = (x1 - x0) * 0.5
    head = np.array([middle, y0 + (waist - y0) * 0.42])
    radius = unit * rng.uniform(0.26, 0.36)
    colours = [style.palette[index] for index in rng.permutation(5)]
    hair, skin = _HAIR[int(rng.integers(5))], SKIN[int(rng.integers(5))]

    def paint(shapes: list[Points], colour: Colour) -> None:
        if not outline:
            canvas.fill(shapes, colour)
        for shape in shapes:
            canvas.line(shape, style.colours[card.suit] if outline else (30, 28, 32), 1.6 if outline else 1)

    shoulder = head[1] + radius * 1.5
    robe = np.array(
        [(x0, waist), (x0 + unit * 0.12, shoulder + radius * 0.4), (middle - radius, shoulder - radius * 0.3)]
    )
    robe = np.concatenate([robe, (2 * middle - robe[::-1, 0])[:, None] * (1, 0) + robe[::-1] * (0, 1)])
    paint([robe], colours[0])
    if not outline and rng.random() < 0.7:
        _brocade(canvas, robe, colours[1:4], rng)
    for index in range(int(rng.integers(1, 4))):
        part = 0.75 - 0.22 * index
        sash = np.array(
            [(middle - unit * part, waist), (middle, shoulder), (middle + unit * part, waist), (middle, waist)]
        )
        paint([sash], colours[1 + index % 4])
    for _ in range(int(rng.integers(0, 7))):
        x, y = middle + unit * rng.uniform(-0.7, 0.7), rng.uniform(shoulder, waist)
        paint(placed([star(4, 0.5)], x, y, unit * 0.09, unit * 0.09), colours[4])
    long_hair = 1.7 if card.rank == "queen" else 1.15
    paint([ellipse(head[0], head[1] + radius * (long_hair - 1) * 0.6, radius * 1.3, radius * long_hair)], hair)
    paint([ellipse(head[0], head[1], radius * 0.85, radius)], skin)
    _face(canvas, head, radius, card, hair, paint_beard=card.rank == "king")
    if card.rank == "jack":
        cap = bezier((-1.2, 0.0), (-1.0, -1.0), (1.0, -1.3), (1.2, 0.0))
        paint(placed([cap], head[0], head[1] - radius * 0.5, radius, radius), colours[2])
    else:
        points = int(rng.integers(3, 6))
        paint(
            placed(
                crown(points, 1.0, card.rank == "queen"), head[0], head[1] - radius * 0.75, radius * 0.95, radius * 0.8
            ),
            colours[3],
        )
    side = -1 if rng.random() < 0.5 else 1
    hold = np.array([(middle + side * unit * 0.62, waist), (middle + side * unit * 0.72, y0 + unit * 0.15)])
    canvas.line(hold, colours[2], unit * 0.07, closed=False)
    paint(placed([star(int(rng.integers(3, 7)), 0.45)], hold[1, 0], hold[1, 1], unit * 0.14, unit * 0.14), colours[1])


def _brocade(canvas: Canvas, shape: Points, colours: list[Colour], rng: np.random.Generator) -> None:
    """Cover a shape with a small repeated ornament."""
    cloth = Canvas(canvas.width, canvas.height, (0, 0, 0))
    cloth.pixels[:] = canvas.pixels
    step = float(rng.uniform(7, 22))
    ornament = star(int(rng.integers(2, 6)), float(rng.uniform(0.3, 1.0)))
    low, high = shape.min(axis=0), shape.max(axis=0)
    for row, y in enumerate(np.arange(low[1], high[1], step)):
        for column, x in enumerate(np.arange(low[0] + step / 2 * (row % 2), high[0], step)):
            colour = colours[(row + column) % len(colours)]
            cloth.fill(placed([ornament], float(x), float(y), step * 0.45, step * 0.45), colour)
        if row % 3 == 0:
            cloth.line(np.array([(low[0], y), (high[0], y)]), colours[0], step * 0.15, closed=False)
    inside = Canvas(canvas.width, canvas.height, (0, 0, 0))
    inside.fill([shape], (255, 255, 255))
    canvas.pixels = np.where(inside.pixels > 127, cloth.pixels, canvas.pixels)


def _face(
    canvas: Canvas, head: NDArray[np.float64], radius: float, card: Card, hair: Colour, *, paint_beard: bool
) -> None:
    x, y = head
    for side in (-1, 1):
        eye = ellipse(x + side * radius * 0.32, y - radius * 0.08, radius * 0.1, radius * 0.08, 8)
        canvas.fill([eye], (25, 25, 25))
    if paint_beard:
        beard = bezier((-0.8, 0.15), (-0.6, 1.5), (0.6, 1.5), (0.8, 0.15))
        canvas.fill(placed([beard], x, y + radius * 0.15, radius, radius), hair)
    lips = (180, 40, 50) if card.rank == "queen" else (120, 60, 50)
    canvas.fill([ellipse(x, y + radius * 0.48, radius * 0.22, radius * 0.07, 10)], lips)


def _letter(canvas: Canvas, _box: Box, style: DeckStyle, card: Card, _rng: np.random.Generator) -> None:
    mask = glyphs(style.lettering, INDEX[card.rank], round(canvas.height * 0.3))
    canvas.stamp(mask, canvas.width / 2, canvas.height / 2, style.colours[card.suit])


def _emblem(canvas: Canvas, box: Box, style: DeckStyle, card: Card, rng: np.random.Generator) -> None:
    x, y, size = canvas.width / 2, canvas.height / 2, canvas.width * rng.uniform(0.18, 0.27)
    canvas.fill(placed(style.shapes[card.suit], x, y + size * 0.4, size, size), style.colours[card.suit])
    points = {"jack": 2, "queen": 3, "king": 5}[card.rank]
    canvas.fill(
        placed(crown(points, 1.0, card.rank == "queen"), x, y - size * 0.95, size * 0.8, size * 0.6), style.palette[1]
    )
    if rng.random() < 0.4:
        canvas.line(rectangle(box), style.palette[1], 2)


def _pip(canvas: Canvas, box: Box, style: DeckStyle, card: Card, rng: np.random.Generator) -> None:
    """One large pip, or two of them head to foot, on an ornament: a pip in the middle is no number."""
    x0, y0, x1, y1 = box
    x, y, size = canvas.width / 2, canvas.height / 2, canvas.width * float(rng.uniform(0.13, 0.3))
    ornament = style.palette[int(rng.integers(5))]
    kind = rng.choice(["none", "ring", "burst", "ground", "bars"])
    if kind == "ring":
        canvas.line(ellipse(x, y, size * 1.4, size * 1.5), ornament, size * float(rng.uniform(0.05, 0.3)))
    elif kind == "burst":
        points = star(int(rng.integers(6, 14)), float(rng.uniform(0.5, 0.9)))
        canvas.fill(placed([points], x, y, size * 1.5, size * 1.7), mix(ornament, style.paper, 0.5))
    elif kind == "ground":
        canvas.fill([rectangle(box)], mix(ornament, style.paper, 0.75))
    elif kind == "bars":
        for edge in (y0 + (y1 - y0) * 0.12, y1 - (y1 - y0) * 0.12):
            canvas.line(np.array([(x0, edge), (x1, edge)]), ornament, size * 0.25, closed=False)
    colour = style.colours[card.suit]
    if rng.random() < 0.35:
        for offset, flip in ((-1, False), (1, True)):
            at = y + offset * size * 1.05
            canvas.fill(placed(style.shapes[card.suit], x, at, size * 0.8, size * 0.8, flip=flip), colour)
    else:
        canvas.fill(placed(style.shapes[card.suit], x, y, size, size), colour)


def _corner_pips(canvas: Canvas, box: Box, style: DeckStyle, card: Card, size: float) -> None:
    x0, y0, x1, y1 = box
    r = canvas.height * size / 2
    gap = r * 1.35
    for x, y, flip in ((x0 + gap, y0 + gap, False), (x1 - gap, y1 - gap, True)):
        canvas.fill([ellipse(x, y, r * 1.15, r * 1.2)], style.paper)
        canvas.fill(placed(style.shapes[card.suit], x, y, r * style.pip_width, r, flip=flip), style.colours[card.suit])


def _sign(canvas: Canvas, box: Box, style: DeckStyle, card: Card, rng: np.random.Generator) -> None:
    """A sign of any kind; in half of the decks the same for jack, queen and king."""
    if style.seed % 2:
        rng = np.random.default_rng([style.seed, 31])
    draw_sign(canvas, box, style, card.suit, rng)


FLAT = {"letter": _letter, "emblem": _emblem, "pip": _pip, "sign": _sign}
"""Court art that fills the box at once and is not turned round."""
