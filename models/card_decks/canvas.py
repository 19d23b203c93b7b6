"""A picture that shapes and words are drawn on, with smooth edges."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from models.card_decks.shapes import Points

Colour = tuple[int, int, int]
# Parallel work is one process a core here, and OpenCV's own threads do not survive a fork.
cv2.setNumThreads(1)
_SHIFT = 4  # OpenCV takes coordinates in sixteenths of a pixel


class Canvas:
    """RGB pixels, uint8 (height, width, 3), addressed in pixels."""

    def __init__(self, width: int, height: int, colour: Colour) -> None:
        self.width, self.height = width, height
        self.pixels: NDArray[np.uint8] = np.full((height, width, 3), colour, dtype=np.uint8)

    def fill(self, shapes: Sequence[Points], colour: Colour) -> None:
        """Fill each polygon; overlapping ones add up."""
        for shape in shapes:
            cv2.fillPoly(self.pixels, [_fixed(shape)], colour, lineType=cv2.LINE_AA, shift=_SHIFT)

    def line(self, shape: Points, colour: Colour, width: float, *, closed: bool = True) -> None:
        thickness = max(1, round(width))
        cv2.polylines(self.pixels, [_fixed(shape)], closed, colour, thickness, lineType=cv2.LINE_AA, shift=_SHIFT)

    def stamp(self, mask: NDArray[np.uint8], x: float, y: float, colour: Colour, *, upside_down: bool = False) -> None:
        """Lay a mask centred on (x, y); what falls outside is cut off."""
        if upside_down:
            mask = mask[::-1, ::-1]
        rows, columns = mask.shape
        left, top = round(x - columns / 2), round(y - rows / 2)
        x0, y0, x1, y1 = max(0, left), max(0, top), min(self.width, left + columns), min(self.height, top + rows)
        if x0 >= x1 or y0 >= y1:
            return
        alpha = mask[y0 - top : y1 - top, x0 - left : x1 - left, None].astype(np.float32) / 255
        under = self.pixels[y0:y1, x0:x1]
        self.pixels[y0:y1, x0:x1] = (under * (1 - alpha) + np.array(colour, np.float32) * alpha + 0.5).astype(np.uint8)

    def rotate_half(self) -> None:
        """Replace the lower half with the upper one turned round, as court cards are made."""
        half = self.height // 2
        self.pixels[-half:] = self.pixels[:half][::-1, ::-1]


def placed(shapes: Sequence[Points], x: float, y: float, rx: float, ry: float, *, flip: bool = False) -> list[Points]:
    """Scale unit shapes by (rx, ry), turn them upside down if asked, and move them to (x, y)."""
    sign = -1.0 if flip else 1.0
    return [shape * (rx * sign, ry * sign) + (x, y) for shape in shapes]


def _fixed(points: Points) -> NDArray[np.int32]:
    return np.round(points * (1 << _SHIFT)).astype(np.int32)
