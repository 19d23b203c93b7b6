"""Pictures on court cards, jokers and patterned decks: made up, and never the same in two decks.

What tells a jack from a queen in any real deck is the letter in the corner; the art is there so that a model learns not
to depend on it.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

from models.card_decks.canvas import Canvas, Colour, placed
from models.card_decks.fonts import glyphs
from models.card_decks.labels import INDEX, RANKS, Card
from models.card_decks.shapes import Points, bezier, crown, ellipse, star
from models.card_decks.style import DeckStyle

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""
_SKIN: tuple[Colour, ...] = ((250, 222, 196), (236, 190, 150), (190, 135, 95), (120, 80, 55), (250, 245, 235))
_HAIR: tuple[Colour, ...] = ((240, 200, 80), (90, 55, 30), (30, 25, 25), (200, 200, 200), (160, 70, 30))


def draw_court(canvas: Canvas, style: DeckStyle, card: Card) -> None:
    """Draw a jack, queen or king into the middle of a card."""
    rng = np.random.default_rng([style.seed, RANKS.index(card.rank), len(card.suit)])
    width, height = canvas.width, canvas.height
    inset = float(rng.uniform(0.13, 0.27)) if style.court_frame else float(rng.uniform(0.1, 0.16))
    box = (width * inset, height * inset * 0.62, width * (1 - inset), height * (1 - inset * 0.62))
    art = Canvas(width, height, style.paper)
    kind = style.court
    if kind in ("mosaic", "stripes", "picture"):
        fill_pattern(art, box, style, kind, rng)
        if rng.random() < 0.6:
            _figure(art, box, style, card, rng, outline=False)
    elif kind in ("letter", "emblem"):
        _letter(art, style, card) if kind == "letter" else _emblem(art, box, style, card, rng)
    else:
        if kind == "panel" or rng.random() < 0.3:
            art.fill([_rectangle(box)], _mix(style.palette[int(rng.integers(5))], style.paper, 0.6))
        _figure(art, box, style, card, rng, outline=kind == "outline")
    if kind not in ("letter", "emblem", "picture"):
        art.rotate_half()
    x0, y0, x1, y1 = (round(edge) for edge in box)
    canvas.pixels[y0:y1, x0:x1] = art.pixels[y0:y1, x0:x1]
    if style.court_frame:
        canvas.line(_rectangle(box), style.palette[2] if rng.random() < 0.5 else (30, 30, 30), rng.uniform(1, 3))
    if kind not in ("letter", "emblem") and rng.random() < 0.85:
        _corner_pips(canvas, box, style, card, float(rng.uniform(0.05, 0.13)))


def draw_joker(canvas: Canvas, style: DeckStyle) -> None:
    """Draw a joker: anything but a suit and a rank."""
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


def fill_pattern(canvas: Canvas, box: Box, style: DeckStyle, kind: str, rng: np.random.Generator) -> None:
    """Fill a box with a mosaic of triangles, with stripes, or with something like a photograph."""
    x0, y0, x1, y1 = (round(edge) for edge in box)
    if kind == "picture":
        canvas.pixels[y0:y1, x0:x1] = clouds(rng, x1 - x0, y1 - y0)
        return
    if kind == "stripes":
        count = int(rng.integers(5, 14))
        slant = (x1 - x0) * rng.uniform(-0.8, 0.8)
        edges = np.linspace(y0 - abs(slant), y1 + abs(slant), count + 1)
        tile = Canvas(canvas.width, canvas.height, style.palette[0])
        for index, (top, bottom) in enumerate(itertools.pairwise(edges)):
            band = np.array([(x0, top), (x1, top + slant), (x1, bottom + slant), (x0, bottom)])
            tile.fill([band], style.palette[index % 5])
        canvas.pixels[y0:y1, x0:x1] = tile.pixels[y0:y1, x0:x1]
        return
    columns, rows = int(rng.integers(3, 8)), int(rng.integers(4, 10))
    grid_x, grid_y = np.meshgrid(np.linspace(x0, x1, columns + 1), np.linspace(y0, y1, rows + 1))
    step = np.array([(x1 - x0) / columns, (y1 - y0) / rows])
    corners = np.stack([grid_x, grid_y], axis=2)
    corners[1:-1, 1:-1] += rng.uniform(-0.4, 0.4, size=corners[1:-1, 1:-1].shape) * step
    for row in range(rows):
        for column in range(columns):
            a, b = corners[row, column], corners[row, column + 1]
            c, d = corners[row + 1, column + 1], corners[row + 1, column]
            canvas.fill([np.array([a, b, c])], style.palette[int(rng.integers(5))])
            canvas.fill([np.array([a, c, d])], style.palette[int(rng.integers(5))])


def clouds(rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """Smooth coloured noise in three octaves, uint8 (height, width, 3): a stand-in for a printed photograph."""
    total = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((3, 1.0), (9, 0.5), (30, 0.3)):
        noise = rng.normal(size=(cells, cells, 3)).astype(np.float32)
        noise = noise * 0.5 + noise.mean(axis=2, keepdims=True)
        total += weight * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    tint = rng.uniform(60, 200, size=3)
    return np.clip(tint + total * rng.uniform(25, 60), 0, 255).astype(np.uint8)


def _figure(canvas: Canvas, box: Box, style: DeckStyle, card: Card, rng: np.random.Generator, *, outline: bool) -> None:
    """The upper half of a crowned person, in the upper half of the box."""
    x0, y0, x1, y1 = box
    middle, waist = (x0 + x1) / 2 + (x1 - x0) * rng.uniform(-0.06, 0.06), (y0 + y1) / 2
    unit = (x1 - x0) * 0.5
    head = np.array([middle, y0 + (waist - y0) * 0.42])
    radius = unit * rng.uniform(0.26, 0.36)
    colours = [style.palette[index] for index in rng.permutation(5)]
    hair, skin = _HAIR[int(rng.integers(5))], _SKIN[int(rng.integers(5))]

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
    canvas.fill([ellipse(x, y, unit * 0.5, unit * 0.6)], _SKIN[int(rng.integers(5))])
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
        mask = glyphs(style.font, style.joker_word, round(height * 1.6), style.font_stretch)
        canvas.stamp(mask, canvas.width / 2, canvas.height * 0.86, colour)
        return
    if arrangement == "stacked":
        for letter in style.joker_word:
            mask = glyphs(style.font, letter, height, style.font_stretch)
            y += height * 0.62
            _both_ways(canvas, mask, x, y, colour)
            y += height * 0.62
        return
    mask = glyphs(style.font, style.joker_word, height, style.font_stretch)
    if arrangement == "turned":
        mask = np.ascontiguousarray(np.rot90(mask, -1))
    _both_ways(canvas, mask, x + mask.shape[1] / 2 - height / 2, y + mask.shape[0] / 2, colour)


def _both_ways(canvas: Canvas, mask: NDArray[np.uint8], x: float, y: float, colour: Colour) -> None:
    canvas.stamp(mask, x, y, colour)
    canvas.stamp(mask, canvas.width - x, canvas.height - y, colour, upside_down=True)


def _letter(canvas: Canvas, style: DeckStyle, card: Card) -> None:
    mask = glyphs(style.font, INDEX[card.rank], round(canvas.height * 0.3), style.font_stretch)
    canvas.stamp(mask, canvas.width / 2, canvas.height / 2, style.colours[card.suit])


def _emblem(canvas: Canvas, box: Box, style: DeckStyle, card: Card, rng: np.random.Generator) -> None:
    x, y, size = canvas.width / 2, canvas.height / 2, canvas.width * rng.uniform(0.18, 0.27)
    canvas.fill(placed(style.shapes[card.suit], x, y + size * 0.4, size, size), style.colours[card.suit])
    points = {"jack": 2, "queen": 3, "king": 5}[card.rank]
    canvas.fill(
        placed(crown(points, 1.0, card.rank == "queen"), x, y - size * 0.95, size * 0.8, size * 0.6), style.palette[1]
    )
    if rng.random() < 0.4:
        canvas.line(_rectangle(box), style.palette[1], 2)


def _corner_pips(canvas: Canvas, box: Box, style: DeckStyle, card: Card, size: float) -> None:
    x0, y0, x1, y1 = box
    r = canvas.height * size / 2
    gap = r * 1.35
    for x, y, flip in ((x0 + gap, y0 + gap, False), (x1 - gap, y1 - gap, True)):
        canvas.fill([ellipse(x, y, r * 1.15, r * 1.2)], style.paper)
        canvas.fill(placed(style.shapes[card.suit], x, y, r * style.pip_width, r, flip=flip), style.colours[card.suit])


def _rectangle(box: Box) -> Points:
    x0, y0, x1, y1 = box
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=np.float64)


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a * (1 - share) + b * share) for a, b in zip(first, second, strict=True))
    return (red, green, blue)
