"""Masks of a segmentation: the class of each pixel, which a client may take as a PNG."""

from __future__ import annotations

import colorsys
import io
import math

import numpy as np
from PIL import Image

from lading.answers import AnswerKind, Directions, Floats, View
from lading.spec import Array, TensorSpec

MOST = 256
"""Classes of a mask: a pixel of a PNG with a palette has 8 bits."""
TIES = 0.002
"""Share of the pixels that may be a tie: two classes with the same score but for rounding."""
_ENLARGED = 4
"""Most that the mask of a photo may have of the pixels of the model's frame."""
_SHOWN = 32
"""Classes whose shares are watched for drift."""


class Mask(AnswerKind):
    """Integer (batch, height, width): the index of the class of each pixel."""

    name = "mask"
    measure = "IoU"
    least = 0.9

    def problem(self, spec: TensorSpec) -> str | None:
        right = spec.numpy_dtype.kind in "iu" and len(spec.shape) == 3 and spec.batched
        if not right:
            return (
                "a mask is an integer tensor of shape (batch, height, width), the class of each pixel, not "
                f"{spec.dtype} {spec.shape}: end forward with .argmax(1).to(torch.uint8)"
            )
        if not spec.classes or len(spec.classes) > MOST:
            return f"a mask needs classes=, at most {MOST} names"
        return None

    def broken(self, spec: TensorSpec, array: Array) -> tuple[int, str] | None:
        count = len(spec.classes or ())
        wrong = ((array < 0) | (array >= count)).any(axis=(1, 2))
        return (int(wrong.argmax()), f"a pixel is not the index of one of {count} classes") if wrong.any() else None

    def similarity(self, spec: TensorSpec, expected: Array, got: Array) -> Floats:
        """Mean intersection over union of the classes that are in either."""
        del spec
        return np.array([_mean_iou(one, other) for one, other in zip(expected, got, strict=True)], np.float64)

    def aligned(self, spec: TensorSpec, expected: Array, got: Array) -> Array:
        del spec
        ties = (expected != got).mean(axis=(1, 2)) <= TIES
        return np.where(ties[:, None, None], expected, got)

    def features(self, spec: TensorSpec, row: Array, directions: Directions | None = None) -> dict[str, Array]:
        del directions
        names = spec.classes or ()
        shares = np.bincount(np.clip(row, 0, MOST - 1).astype(np.int64).ravel(), minlength=len(names)) / row.size
        return {f"{spec.name}.{name}": shares[[place]] for place, name in enumerate(names[:_SHOWN])}

    def of_photo(self, spec: TensorSpec, row: Array, view: View) -> Array:
        """The mask of all of the photo, at the scale of the frame: margins are cut off, and what a crop has left out is
        of class 0. One of an extreme photo has fewer pixels, at most :data:`_ENLARGED` times those of the frame."""
        del spec
        spans = view.bottom - view.top, view.right - view.left
        sizes = [size / span for size, span in zip(row.shape, spans, strict=True)]
        smaller = max(1.0, math.sqrt(sizes[0] * sizes[1] / (_ENLARGED * row.size)))
        places = []
        for size, whole, first, span in zip(row.shape, sizes, (view.top, view.left), spans, strict=True):
            count = min(max(1, round(whole / smaller)), _ENLARGED * row.size)
            middles = (np.arange(count) + 0.5) / count
            places.append(np.floor((middles - first) / span * size).astype(np.int64))
        down, across = places
        inside = ((down >= 0) & (down < row.shape[0]))[:, None] & ((across >= 0) & (across < row.shape[1]))[None]
        found = row[down.clip(0, row.shape[0] - 1)[:, None], across.clip(0, row.shape[1] - 1)[None]]
        return np.asarray(np.where(inside, found, row.dtype.type(0)))


def mask_png(row: Array) -> bytes:
    """A mask (height, width) as a PNG with a palette, in which a pixel's value is its class."""
    picture = Image.new("P", row.shape[::-1])
    picture.frombytes(np.ascontiguousarray(row, dtype=np.uint8).tobytes())
    picture.putpalette([part for place in range(MOST) for part in colour(place)])
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def colour(place: int) -> tuple[int, int, int]:
    """Red, green and blue of a class; the first one, most often the background, is black."""
    if place == 0:
        return (0, 0, 0)
    red, green, blue = colorsys.hsv_to_rgb(place * 0.618034 % 1, 0.75, 0.95)  # the golden ratio spreads the hues
    return (round(255 * red), round(255 * green), round(255 * blue))


def _mean_iou(one: Array, other: Array) -> float:
    found = [
        float(((one == place) & (other == place)).sum() / ((one == place) | (other == place)).sum())
        for place in np.union1d(one, other)
    ]
    return float(np.mean(found))


KIND = Mask()
