"""Levels of pixels to the numbers of a tensor, and back."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lading.content.image.placement import Wanted
from lading.content.image.resizer import Pixels
from lading.preprocess import LEVELS, Preprocess
from lading.spec import Array


def to_tensor(pixels: Pixels, how: Preprocess, dtype: str) -> Array:
    """RGB pixels, uint8 of shape (height, width, 3), to a tensor without the batch dim."""
    if how.colours == "grey":
        pixels = _luma(pixels)[..., None]
    elif how.colours == "BGR":
        pixels = pixels[..., ::-1]
    if how.layout == "NCHW":
        pixels = pixels.transpose(2, 0, 1)
    if dtype == "uint8":
        return np.ascontiguousarray(pixels)
    table = number_table(how, dtype)
    axis = 0 if how.layout == "NCHW" else -1
    tensor = np.empty(pixels.shape, dtype)
    for channel, numbers in enumerate(table):
        np.moveaxis(tensor, axis, 0)[channel] = numbers[np.moveaxis(pixels, axis, 0)[channel]]
    return tensor


def to_pixels(example: Array, how: Preprocess) -> Pixels:
    """A tensor without the batch dim to RGB pixels, uint8 of shape (height, width, 3); the inverse of the above."""
    example = example if how.layout == "NHWC" else example.transpose(1, 2, 0)
    if example.dtype != np.uint8:
        levels = (example.astype(np.float64) * how.std + how.mean) / how.scale
        example = np.rint(np.nan_to_num(levels)).clip(0, LEVELS).astype(np.uint8)
    if how.colours == "grey":
        return np.repeat(example, 3, axis=2)
    return np.ascontiguousarray(example if how.colours == "RGB" else example[..., ::-1])


def to_picture(pixels: Pixels, wanted: Wanted) -> Pixels:
    """A picture that becomes these pixels: a centre that is cropped later gets its border back, from its own edge."""
    side = wanted.how.resize
    if side is None:
        return pixels
    height, width, _ = pixels.shape
    placed = wanted.placement(side, side)
    margins = (placed.top, side - height - placed.top), (placed.left, side - width - placed.left), (0, 0)
    return np.pad(pixels, margins, mode="edge")


@lru_cache(64)
def number_table(how: Preprocess, dtype: str) -> NDArray[np.generic]:
    """What each level becomes, of shape (channels, 256). Rounded once, from float64."""
    levels = np.arange(LEVELS + 1) * how.scale
    mean, std = (np.broadcast_to(values, how.channels)[:, None] for values in (how.mean, how.std))
    with np.errstate(over="ignore"):
        return np.asarray(((levels - mean) / std).astype(dtype))


def _luma(pixels: Pixels) -> Pixels:
    """ITU-R BT.601, with Pillow's rounding."""
    red, green, blue = (pixels[..., channel].astype(np.uint32) for channel in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)
