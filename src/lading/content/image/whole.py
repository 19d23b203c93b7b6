"""A whole picture to the model's frame, without reducing it first: what Pillow, torchvision and OpenCV do in training.

The picture is resized as it was decoded, and the small result is turned upright. So nothing of the picture's own size
is copied. It is read in strips: their columns are resized at once, and their rows when all strips are there.

Without antialiasing, ``nearest`` takes the pixel at the middle (torch's ``nearest-exact``), and ``bilinear`` and
``bicubic`` are those of OpenCV and of torch with ``align_corners=False``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lading.budget import Budget
from lading.content.image.placement import Placement, Wanted
from lading.content.image.resizer import SUPPORT, Pixels, resize

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom; the last two are outside."""
STRIP = 2**18
"""Pixels of a strip, but at least one row."""
_COPIES = 24
"""Bytes per pixel of a strip, while it is laid over white."""
_A = -0.75
"""Parameter of the bicubic filter without antialiasing, in torch and OpenCV. With it, Pillow's and torch's is -0.5."""


class _Axis(NamedTuple):
    """One axis of the decoded picture, and of the result before it is turned."""

    size: int
    """Of the picture."""
    whole: int
    """Of all of the picture after resizing."""
    first: int
    """Where the part that is seen begins, after resizing."""
    seen: int
    """Pixels of the part that is seen."""
    mirrored: bool

    @property
    def scale(self) -> float:
        return self.size / self.whole

    def covered(self) -> tuple[float, float]:
        """The part of the picture that is seen."""
        last = self.first + self.seen
        return self.first * self.scale, float(self.size) if last == self.whole else last * self.scale

    def span(self, support: int) -> tuple[int, int]:
        """Pixels that a filter needs: the first, and one after the last."""
        start, end = self.covered()
        reach = math.ceil(support * max(1.0, self.scale)) + 1
        return max(0, math.floor(start) - reach), min(self.size, math.ceil(end) + reach)

    def taps(self, interpolation: str) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Places in the picture and their weights, both of shape (seen, taps), without antialiasing."""
        first = self.whole - self.first - self.seen if self.mirrored else self.first
        numbers = np.arange(first, first + self.seen)
        if interpolation == "nearest":  # in integers, since a middle may be just between two pixels
            places, weights = ((2 * numbers + 1) * self.size // (2 * self.whole))[:, None], np.ones((self.seen, 1))
        else:
            middle = (numbers + 0.5) * self.scale
            below = np.floor(middle - 0.5)
            past = (middle - 0.5 - below)[:, None]
            steps = np.arange(0, 2) if interpolation == "bilinear" else np.arange(-1, 3)
            places = below[:, None] + steps
            distance = np.abs(past - steps)
            weights = 1 - distance if interpolation == "bilinear" else _cubic(distance)
        places = places.clip(0, self.size - 1).astype(np.intp)
        if self.mirrored:
            places, weights = self.size - 1 - places[::-1], weights[::-1]
        return places, weights.astype(np.float32)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
    far = ((_A * distance - 5 * _A) * distance + 8 * _A) * distance - 4 * _A
    return np.where(distance <= 1, near, far)


def whole_bytes(columns: int, rows: int, wanted: Wanted) -> int:
    """Memory that :func:`resize_whole` takes for an upright picture of this size, besides the picture."""
    across, down = _axes(wanted.placement(columns, rows), columns, rows, 1)
    if wanted.how.antialias:
        support = SUPPORT[wanted.how.interpolation]
        (left, right), (top, bottom) = across.span(support), down.span(support)
        held = 6 * (bottom - top) * across.seen
    else:
        taps = {"nearest": 1, "bilinear": 2}.get(wanted.how.interpolation, 4)
        left, right = across.span(2)
        held = 12 * min(rows, taps * down.seen) * across.seen + 36 * down.seen * across.seen
    return held + _COPIES * max(STRIP, right - left) + 6 * wanted.height * wanted.width


def resize_whole(
    strip: Callable[[Box], Pixels], size: tuple[int, int], wanted: Wanted, orientation: int, budget: Budget
) -> Pixels:
    """Resize the part that is seen, uint8 RGB; it is turned as the decoded picture is.

    Args:
        strip: gives a part of the decoded picture as RGB pixels.
        size: columns and rows of the decoded picture.
        wanted: where it goes.
        orientation: of EXIF, from 1 to 8.
        budget: its deadline is checked for each strip.

    Raises:
        ExpiredError: the deadline passed.
    """
    columns, rows = size if orientation < 5 else size[::-1]
    across, down = _axes(wanted.placement(columns, rows), columns, rows, orientation)
    steps = _filtered if wanted.how.antialias else _gathered
    if orientation < 5:
        return steps(strip, across, down, wanted.how.interpolation, budget)

    def turned(box: Box) -> Pixels:
        left, top, right, bottom = box
        return strip((top, left, bottom, right)).transpose(1, 0, 2)

    # The columns of the upright picture come first, because a sharp filter clips what overshoots after each step.
    return steps(turned, down, across, wanted.how.interpolation, budget).transpose(1, 0, 2)


def _axes(placed: Placement, columns: int, rows: int, orientation: int) -> tuple[_Axis, _Axis]:
    """Both axes of the decoded picture; ``columns`` and ``rows`` are those of the upright one."""
    one = (columns, placed.wide, placed.left, placed.columns)
    other = (rows, placed.tall, placed.top, placed.rows)
    across, down = (one, other) if orientation < 5 else (other, one)
    return _axis(*across, orientation in (2, 3, 7, 8)), _axis(*down, orientation in (3, 4, 6, 7))


def _axis(size: int, whole: int, first: int, count: int, mirrored: bool) -> _Axis:
    return _Axis(size, whole, whole - first - count if mirrored else first, count, mirrored)


def _filtered(strip: Callable[[Box], Pixels], across: _Axis, down: _Axis, interpolation: str, budget: Budget) -> Pixels:
    support = SUPPORT[interpolation]
    (left, right), (top, bottom) = across.span(support), down.span(support)
    start, end = across.covered()
    narrow = np.empty((bottom - top, across.seen, 3), np.uint8)
    step = max(1, STRIP // (right - left))
    for at in range(top, bottom, step):
        budget.check_time()
        part = strip((left, at, right, min(at + step, bottom)))
        covered = (start - left, 0.0, end - left, float(len(part)))
        narrow[at - top : at - top + len(part)] = resize(part, len(part), across.seen, covered, interpolation)
    start, end = down.covered()
    covered = (0.0, start - top, float(across.seen), end - top)
    return resize(narrow, down.seen, across.seen, covered, interpolation)


def _gathered(strip: Callable[[Box], Pixels], across: _Axis, down: _Axis, interpolation: str, budget: Budget) -> Pixels:
    """Weighted sums of single pixels, rounded once."""
    (places, weights), (lines, shares) = across.taps(interpolation), down.taps(interpolation)
    left, right = int(places.min()), int(places.max()) + 1
    needed, position = np.unique(lines, return_inverse=True)
    position = position.reshape(lines.shape)
    narrow = np.empty((len(needed), across.seen, 3), np.float32)
    step = max(1, STRIP // (right - left))
    begin = 0
    while begin < len(needed):
        budget.check_time()
        top = int(needed[begin])
        end = int(np.searchsorted(needed, top + step))
        part = strip((left, top, right, int(needed[end - 1]) + 1))[needed[begin:end] - top]
        taps = range(places.shape[1])
        narrow[begin:end] = sum(part[:, places[:, tap] - left] * weights[:, tap, None] for tap in taps)
        begin = end
    result = sum(narrow[position[:, tap]] * shares[:, tap, None, None] for tap in range(lines.shape[1]))
    return np.rint(result).clip(0, 255).astype(np.uint8)
