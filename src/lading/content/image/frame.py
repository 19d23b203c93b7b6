"""A decoded picture to the model's frame: upright, over white, RGB, reduced by a whole factor, and resized.

All steps before the last run on a tile at a time, so they need little memory next to the decoded picture itself, and no
call holds Python's lock for long. A picture that is not to be reduced goes through ``whole.py`` instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from PIL import Image

from lading.budget import Budget
from lading.content.image.placement import Placement, Wanted
from lading.content.image.resizer import SUPPORT, Pixels, resize
from lading.content.image.whole import Box, resize_whole, whole_bytes

TILE = 2**18
"""Pixels of a tile, unless the reduction makes more of them one pixel."""
_COPIES = 6
"""Pictures of a tile at once, while it is laid over white."""
BAND = 2**20
"""Pixels of the reduced picture that are resized at once."""
_BAND_BYTES = 8
"""Memory per pixel of a band: its bytes, and the resizer's source and intermediate result."""
_GAP = 2  # the reduced picture is at least this many times the target, so that the bilinear filter decides the result
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by its EXIF orientation."""


def picture_bytes(columns: int, rows: int, pixel: int) -> int:
    """Memory of a picture in Pillow with this number of bytes per pixel: a row has a pointer, and whole words."""
    return rows * (8 + -(-columns * pixel // 4) * 4)


@lru_cache(1024)
def frame_bytes(columns: int, rows: int, wanted: Wanted) -> int:
    """Memory that :func:`fit_image` and :func:`fit_array` take for a picture of this size, besides the picture."""
    # A picture on its side is reduced by the factors of the upright one: count the more expensive of the two.
    count = _frame_bytes if wanted.how.reduced else whole_bytes
    return max(count(columns, rows, wanted), count(rows, columns, wanted))


def _frame_bytes(columns: int, rows: int, wanted: Wanted) -> int:
    across, down = _factors(columns, rows, wanted.placement(columns, rows))
    wide, tall = _tile(columns, rows, across, down)
    tile = _COPIES * picture_bytes(min(wide, columns), min(tall, rows), 4)
    reduced = -(-columns // across) * -(-rows // down)
    # A band has at least the rows that one row of the result needs.
    needed = 8 * (1 + SUPPORT[wanted.how.interpolation])
    band = min(reduced, max(BAND, needed * -(-columns // across)))
    return 3 * reduced + max(tile, _BAND_BYTES * band + 6 * wanted.height * wanted.width)


def fit_image(image: Image.Image, wanted: Wanted, orientation: int, budget: Budget) -> Pixels:
    """A loaded picture of any mode to uint8 RGB of shape (height, width, 3).

    Args:
        image: the picture; its pixels are decoded.
        wanted: the model's frame.
        orientation: of EXIF, from 1 to 8.
        budget: its deadline is checked for each tile.

    Raises:
        ExpiredError: the deadline passed.
    """
    return _fit(image.crop, image.size, wanted, orientation, budget)


def fit_array(pixels: Pixels, wanted: Wanted, orientation: int, budget: Budget) -> Pixels:
    """RGB or RGBA pixels, uint8 of shape (rows, columns, 3 or 4), to RGB of shape (height, width, 3).

    Raises:
        ExpiredError: the deadline passed.
    """
    rows, columns, channels = pixels.shape
    if channels == 3 and orientation == 1 and wanted.how.reduced:
        placed = wanted.placement(columns, rows)
        if _factors(columns, rows, placed) == (1, 1):
            return _in_frame(_resize(pixels, columns, rows, placed, wanted), placed, wanted)

    def crop(box: Box) -> Image.Image:
        left, top, right, bottom = box
        return Image.fromarray(pixels[top:bottom, left:right])

    return _fit(crop, (columns, rows), wanted, orientation, budget)


def _fit(
    crop: Callable[[Box], Image.Image],
    size: tuple[int, int],
    wanted: Wanted,
    orientation: int,
    budget: Budget,
) -> Pixels:
    orientation = orientation if wanted.how.exif else 1
    turn = _TURNS.get(orientation)
    columns, rows = size if orientation < 5 else size[::-1]
    placed = wanted.placement(columns, rows)
    if not wanted.how.reduced:
        seen = resize_whole(lambda box: np.asarray(_over_white(crop(box))), size, wanted, orientation, budget)
        seen = seen if turn is None else np.asarray(Image.fromarray(seen).transpose(turn))
        return _in_frame(seen, placed, wanted)
    across, down = factors = _factors(columns, rows, placed)
    wide, tall = _tile(columns, rows, across, down)
    if wide >= columns and tall >= rows:
        part = _over_white(crop((0, 0, *size)) if turn is None else crop((0, 0, *size)).transpose(turn))
        part = part if factors == (1, 1) else part.reduce(factors)
        return _in_frame(_resize(np.asarray(part), columns / across, rows / down, placed, wanted), placed, wanted)
    # The last pixel of a reduced row or column may cover fewer pixels than the others.
    reduced = np.empty((-(-rows // down), -(-columns // across), 3), np.uint8)
    for box in _boxes(columns, rows, wide, tall):
        budget.check_time()
        part = crop(_before_turn(box, orientation, *size))
        part = _over_white(part if turn is None else part.transpose(turn))
        if factors != (1, 1):
            part = part.reduce(factors)
        x, y = box[0] // across, box[1] // down
        reduced[y : y + part.height, x : x + part.width] = np.asarray(part)
    return _in_frame(_resize(reduced, columns / across, rows / down, placed, wanted), placed, wanted)


def _in_frame(seen: Pixels, placed: Placement, wanted: Wanted) -> Pixels:
    """The part that is seen, between the margins of a letterbox."""
    if (placed.rows, placed.columns) == (wanted.height, wanted.width):
        return seen
    frame = np.empty((wanted.height, wanted.width, 3), np.uint8)
    frame[:] = wanted.how.fill
    frame[placed.y : placed.y + placed.rows, placed.x : placed.x + placed.columns] = seen
    return frame


def _factors(columns: int, rows: int, placed: Placement) -> tuple[int, int]:
    return max(1, columns // (_GAP * placed.wide)), max(1, rows // (_GAP * placed.tall))


def _tile(columns: int, rows: int, across: int, down: int) -> tuple[int, int]:
    """Columns and rows of a tile, multiples of the factors. A small picture is one tile, which saves a copy."""
    if columns * rows <= 2 * TILE:
        return columns, rows
    if columns * down <= TILE:
        return columns, min(rows, max(1, TILE // (columns * down)) * down)
    return max(1, TILE // (across * down)) * across, down


def _boxes(columns: int, rows: int, wide: int, tall: int) -> Iterator[Box]:
    for top in range(0, rows, tall):
        for left in range(0, columns, wide):
            yield left, top, min(left + wide, columns), min(top + tall, rows)


def _before_turn(box: Box, orientation: int, columns: int, rows: int) -> Box:
    """Where a part of the upright picture is in the decoded one, which has these columns and rows."""
    left, top, right, bottom = box
    if orientation in (5, 6, 7, 8):
        left, top, right, bottom = top, left, bottom, right
    if orientation in (2, 3, 7, 8):
        left, right = columns - right, columns - left
    if orientation in (3, 4, 6, 7):
        top, bottom = rows - bottom, rows - top
    return left, top, right, bottom


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(paper, layer).convert("RGB")
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        # Pillow clips 16-bit greys instead of scaling them.
        grey = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _resize(pixels: Pixels, columns: float, rows: float, placed: Placement, wanted: Wanted) -> Pixels:
    """The part that is seen of a picture that covers these columns and rows of the pixels."""
    if (columns, rows) == (placed.wide, placed.tall):
        down, across = placed.top + placed.rows, placed.left + placed.columns
        return pixels[placed.top : down, placed.left : across]
    left, right = _seen(columns, placed.wide, placed.left, placed.columns)
    top, bottom = _seen(rows, placed.tall, placed.top, placed.rows)
    covered = (left, top, right, bottom)
    if pixels.shape[0] * pixels.shape[1] > BAND:
        return _resize_bands(pixels, covered, placed.rows, placed.columns, wanted.how.interpolation)
    whole = covered == (0, 0, pixels.shape[1], pixels.shape[0])
    return resize(pixels, placed.rows, placed.columns, None if whole else covered, wanted.how.interpolation)


def _seen(size: float, whole: int, first: int, count: int) -> tuple[float, float]:
    last = first + count
    return first * (size / whole), size if last == whole else last * (size / whole)


def _resize_bands(
    pixels: Pixels, covered: tuple[float, float, float, float], height: int, width: int, interpolation: str
) -> Pixels:
    """Resize some rows of the result at a time, because the resizer takes copies of its source."""
    rows, columns = pixels.shape[:2]
    left, start, right, end = covered
    scale = (end - start) / height
    # Rows of the source to each side of a row that the filter looks at.
    reach = math.ceil(SUPPORT[interpolation] * max(1.0, scale)) + 1
    step = max(1, int((BAND / columns - 2 * reach) / scale))
    resized = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        first = max(0, int(start + top * scale) - reach)
        last = min(rows, math.ceil(start + bottom * scale) + reach)
        until = min(start + bottom * scale - first, last - first)
        part = (left, start + top * scale - first, right, until)
        resized[top:bottom] = resize(pixels[first:last], bottom - top, width, part, interpolation)
    return resized
