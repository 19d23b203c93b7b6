"""Where a picture lies in the model's frame: how large it becomes, and which part of it is seen."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from lading.answers import View
from lading.errors import BodyTooLargeError
from lading.preprocess import DEFAULT, Preprocess


class Placement(NamedTuple):
    """Sizes and places, in pixels of the result."""

    wide: int
    """Columns of the whole resized picture."""
    tall: int
    left: int
    """Where the part that is seen begins in it."""
    top: int
    columns: int
    """Columns of the part that is seen."""
    rows: int
    x: int
    """Where that part begins in the model's frame."""
    y: int


class Wanted(NamedTuple):
    """The model's frame, and how a picture comes into it."""

    height: int
    """0 until the picture's size is known, where the frame follows from it."""
    width: int
    how: Preprocess = DEFAULT
    full: tuple[int, int] | None = None
    """Columns and rows of the upright picture, where it is decoded at a reduced scale."""

    @classmethod
    def of(cls, how: Preprocess, shape: tuple[int | str, ...]) -> Wanted:
        """The frame of a tensor of this shape, batch dim included."""
        return cls(*(how.size(shape) or (0, 0)), how)

    def around(self, columns: int, rows: int) -> Wanted:
        """The frame of an upright picture of this size.

        Raises:
            BodyTooLargeError: the model takes smaller pictures only.
        """
        if not self.how.kept:
            return self
        try:
            height, width = self.how.framed(columns, rows)
        except ValueError as error:
            raise BodyTooLargeError(f"the picture has {columns} x {rows} pixels; {error}: send a smaller one") from None
        return Wanted(height, width, self.how, (columns, rows))

    @property
    def view(self) -> View:
        """What of the picture is in the frame, once its size is known."""
        assert self.full is not None
        placed = self.placement(*self.full)
        left, top = placed.left - placed.x, placed.top - placed.y
        return View(
            left / placed.wide,
            top / placed.tall,
            (left + self.width) / placed.wide,
            (top + self.height) / placed.tall,
        )

    def placement(self, columns: int, rows: int) -> Placement:
        """Where an upright picture of this size lies."""
        columns, rows = self.full or (columns, rows)
        return _placement(self.how, self.height, self.width, columns, rows)


@lru_cache(1024)
def _placement(how: Preprocess, height: int, width: int, columns: int, rows: int) -> Placement:
    fit, resize = how.fit, how.resize
    if fit == "stretch":
        return Placement(width, height, 0, 0, width, height, 0, 0)
    if fit == "keep":
        wide, tall = how.resized(columns, rows)
        return Placement(wide, tall, 0, 0, wide, tall, 0, 0)
    if fit == "letterbox":
        ratio = min(width / columns, height / rows)
        wide, tall = (min(max(1, round(size * ratio)), most) for size, most in ((columns, width), (rows, height)))
        return Placement(wide, tall, 0, 0, wide, tall, (width - wide) // 2, (height - tall) // 2)
    # The sizes and corners of torchvision's Resize and CenterCrop.
    if resize is None:
        narrow = width * rows >= height * columns
        wide, tall = (
            (width, max(height, width * rows // columns)) if narrow else (max(width, height * columns // rows), height)
        )
    elif columns <= rows:
        wide, tall = resize, resize * rows // columns
    else:
        wide, tall = resize * columns // rows, resize
    return Placement(wide, tall, round((wide - width) / 2), round((tall - height) / 2), width, height, 0, 0)
