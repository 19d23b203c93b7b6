"""Patterns and stand-ins for photographs, printed on court cards, jokers and tinted decks."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

from models.card_decks.canvas import Canvas, Colour
from models.card_decks.shapes import Points
from models.card_decks.style import DeckStyle

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


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


def rectangle(box: Box) -> Points:
    x0, y0, x1, y1 = box
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=np.float64)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a * (1 - share) + b * share) for a, b in zip(first, second, strict=True))
    return (red, green, blue)
