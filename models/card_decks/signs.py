"""Signs that stand in the middle of a card, with a pip or without: what they are says nothing about its rank.

None is a crown: a crown over a pip is a court card of held-out decks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.card_decks.canvas import Canvas, Colour, placed
from models.card_decks.patterns import Box, mix, rectangle
from models.card_decks.shapes import Points, bezier, ellipse, mirrored, star
from models.card_decks.style import DeckStyle

Draw = Callable[[np.random.Generator], list[Points]]


def draw_sign(canvas: Canvas, box: Box, style: DeckStyle, suit: str, rng: np.random.Generator) -> None:
    """Draw one to three signs, most often with a large pip above, below, beside or under them."""
    x, y = canvas.width / 2, canvas.height / 2
    size = canvas.width * float(rng.uniform(0.12, 0.28))
    ground = mix(style.palette[int(rng.integers(5))], style.paper, float(rng.uniform(0.4, 0.85)))
    backing = rng.choice(["none", "none", "disc", "panel", "medallion"])
    if backing == "disc":
        canvas.fill([ellipse(x, y, size * 1.9, size * 1.9)], ground)
    elif backing == "panel":
        canvas.fill([rectangle(box)], ground)
    elif backing == "medallion":
        canvas.line(ellipse(x, y, size * 1.7, size * 2.1), style.palette[int(rng.integers(5))], size * 0.12)
    pip = style.colours[suit]
    ink = style.palette[int(rng.integers(5))] if rng.random() < 0.75 else pip
    if rng.random() < 0.2:
        _stamp(canvas, rng, (x, y), size * 1.2, ink)
        return
    side = 1 if rng.random() < 0.5 else -1
    place = rng.choice(["over", "over", "under", "beside", "on", "between"])
    half = size * float(rng.uniform(0.6, 1.0))
    if place == "beside":
        canvas.fill(placed(style.shapes[suit], x - side * size * 0.8, y, size * 0.7, size * 0.75), pip)
        _stamp(canvas, rng, (x + side * size * 0.9, y), half * 0.75, ink)
    elif place == "on":
        canvas.fill(placed(style.shapes[suit], x, y, size * 1.2, size * 1.25), pip)
        _stamp(canvas, rng, (x, y), half * 0.5, ink if ink != pip else style.paper)
    elif place == "between":
        canvas.fill(placed(style.shapes[suit], x, y, size * 0.8, size * 0.8), pip)
        state = rng.bit_generator.state
        for offset in (-1, 1):
            rng.bit_generator.state = state
            _stamp(canvas, rng, (x, y + offset * size * 1.7), half * 0.7, ink, flip=offset > 0)
    else:
        down = -1 if place == "under" else 1
        canvas.fill(placed(style.shapes[suit], x, y + down * size * 0.5, size, size), pip)
        _stamp(canvas, rng, (x, y - down * size * 1.2), half * 0.8, ink)


def _stamp(
    canvas: Canvas, rng: np.random.Generator, at: tuple[float, float], size: float, ink: Colour, *, flip: bool = False
) -> None:
    shapes = placed(SIGNS[int(rng.integers(len(SIGNS)))](rng), at[0], at[1], size, size, flip=flip)
    if rng.random() < 0.2:
        for shape in shapes:
            canvas.line(shape, ink, max(1.0, size * 0.07))
    else:
        canvas.fill(shapes, ink)


def _star(rng: np.random.Generator) -> list[Points]:
    return [star(int(rng.integers(4, 9)), float(rng.uniform(0.3, 0.75)))]


def _moon(rng: np.random.Generator) -> list[Points]:
    inner = float(rng.uniform(-0.3, 0.5))
    return [
        np.concatenate([bezier((0, -1), (-1.6, -0.6), (-1.6, 0.6), (0, 1)), bezier((0, 1), (inner - 0.9, 0), (0, -1))])
    ]


def _shield(rng: np.random.Generator) -> list[Points]:
    top = float(rng.uniform(-0.9, -0.6))
    return [mirrored(np.concatenate([np.array([(0.0, top), (-0.8, -0.9)]), bezier((-0.8, -0.9), (-0.9, 0.5), (0, 1))]))]


def _sword(rng: np.random.Generator) -> list[Points]:
    guard = float(rng.uniform(0.3, 0.6))
    blade = mirrored(np.array([(0.0, -1.0), (-0.13, -0.8), (-0.13, 0.5), (0.0, 0.5)]))
    return [blade, rectangle((-guard, 0.42, guard, 0.56)), rectangle((-0.08, 0.5, 0.08, 1.0))]


def _flower(rng: np.random.Generator) -> list[Points]:
    petals, far = int(rng.integers(4, 8)), float(rng.uniform(0.5, 0.65))
    angles = np.arange(petals) * 2 * np.pi / petals
    return [ellipse(far * np.cos(angle), far * np.sin(angle), 0.36, 0.36) for angle in angles]


def _bell(rng: np.random.Generator) -> list[Points]:
    lip = float(rng.uniform(0.7, 1.0))
    half = np.concatenate([bezier((0, -1), (-0.6, -0.9), (-0.4, 0.2), (-lip, 0.65)), np.array([(0.0, 0.65)])])
    return [mirrored(half), ellipse(0, 0.8, 0.2, 0.18, 12)]


def _cup(rng: np.random.Generator) -> list[Points]:
    deep = float(rng.uniform(0.2, 0.7))
    bowl = mirrored(np.concatenate([np.array([(0.0, -0.8)]), bezier((-0.8, -0.8), (-0.7, deep), (0, deep))]))
    return [bowl, rectangle((-0.1, 0.0, 0.1, 0.9)), rectangle((-0.5, 0.85, 0.5, 1.0))]


def _bird(rng: np.random.Generator) -> list[Points]:
    lift = float(rng.uniform(0.3, 0.9))
    wing = np.concatenate([bezier((0, 0.5), (-0.5, -lift), (-1, -0.4)), bezier((-1, -0.4), (-0.5, 0.5), (0, 0.9))])
    return [mirrored(wing), ellipse(0, 0.1, 0.2, 0.25, 12)]


def _key(rng: np.random.Generator) -> list[Points]:
    teeth = int(rng.integers(1, 4))
    bits = [rectangle((0, 0.9 - 0.26 * tooth, 0.4, 1.02 - 0.26 * tooth)) for tooth in range(teeth)]
    return [ellipse(0, -0.6, 0.4, 0.4), rectangle((-0.09, -0.6, 0.09, 1.0)), *bits]


def _tower(rng: np.random.Generator) -> list[Points]:
    roof = float(rng.uniform(-1.0, -0.6))
    return [np.array([(0.0, roof - 0.3), (0.6, -0.4), (-0.6, -0.4)]), rectangle((-0.45, -0.4, 0.45, 1.0))]


def _cross(rng: np.random.Generator) -> list[Points]:
    thick, bar = float(rng.uniform(0.12, 0.4)), float(rng.uniform(0.5, 1.0))
    return [rectangle((-thick, -1, thick, 1)), rectangle((-bar, -thick, bar, thick))]


def _hat(rng: np.random.Generator) -> list[Points]:
    tall = float(rng.uniform(0.5, 1.0))
    return [
        mirrored(np.concatenate([bezier((0, -tall), (-0.6, -tall), (-0.5, 0.3)), np.array([(0.0, 0.3)])])),
        ellipse(0, 0.4, 1, 0.22),
    ]


def _mount(rng: np.random.Generator) -> list[Points]:
    x = np.linspace(-1, 1, 7)
    return [
        np.concatenate([np.stack([x, -rng.uniform(-0.4, 0.9, size=7)], axis=1), np.array([(1.0, 0.8), (-1.0, 0.8)])])
    ]


def _blob(rng: np.random.Generator) -> list[Points]:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = 0.75 + sum(float(rng.normal(0, 0.12)) * np.cos(turn * angle + rng.uniform(0, 6.3)) for turn in range(1, 6))
    return [np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)]


SIGNS: tuple[Draw, ...] = (
    *(_star, _moon, _shield, _sword, _flower, _bell, _cup, _bird, _key, _tower, _cross, _hat, _mount),
    *(_blob, _blob),
)
