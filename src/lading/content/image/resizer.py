"""Antialiased filters on RGB pixels: cykooz-resizer, or Pillow where that is not installed.

The two agree to within one level of 255. cykooz-resizer takes a quarter of the time.
"""

from __future__ import annotations

import threading
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

try:
    from cykooz_resizer import CropBox, FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer
except ImportError:
    Resizer = None

Pixels: TypeAlias = NDArray[np.uint8]
Covered: TypeAlias = tuple[float, float, float, float]
"""The part of a picture that is resized: left, top, right and bottom, in pixels."""
SUPPORT = {"bilinear": 1, "bicubic": 2, "lanczos": 3}
"""Pixels to each side that a filter looks at; times the factor by which the picture shrinks."""
_PILLOW = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class _OfThread(threading.local):
    """One resizer per thread: it reuses its buffers, so two threads must not share it."""

    def __init__(self) -> None:
        self.resizer = Resizer()


if Resizer is not None:
    _FILTERS = {
        "bilinear": ResizeAlg.convolution(FilterType.bilinear),
        "bicubic": ResizeAlg.convolution(FilterType.catmull_rom),
        "lanczos": ResizeAlg.convolution(FilterType.lanczos3),
    }
    _WHOLE = {name: ResizeOptions(resize_alg=one, use_alpha=False) for name, one in _FILTERS.items()}
    _own = _OfThread()


def resize(
    pixels: Pixels, height: int, width: int, covered: Covered | None = None, interpolation: str = "bilinear"
) -> Pixels:
    """Resize RGB pixels, uint8 of shape (rows, columns, 3), to shape (height, width, 3).

    Args:
        pixels: the picture.
        height: rows of the result.
        width: columns of the result.
        covered: default: all of it.
        interpolation: one of :data:`SUPPORT`.
    """
    rows, columns = pixels.shape[:2]
    if Resizer is None:
        size = (width, height)
        return np.asarray(Image.fromarray(pixels).resize(size, _PILLOW[interpolation], covered))
    options = _WHOLE[interpolation]
    if covered is not None:
        left, top, right, bottom = covered
        box = CropBox(left, top, right - left, bottom - top)
        options = ResizeOptions(resize_alg=_FILTERS[interpolation], use_alpha=False, crop_box=box)
    resized = ImageData(width, height, PixelType.U8x3)
    _own.resizer.resize(ImageData(columns, rows, PixelType.U8x3, pixels.tobytes()), resized, options)
    return np.frombuffer(resized.get_buffer(), np.uint8).reshape(height, width, 3)
