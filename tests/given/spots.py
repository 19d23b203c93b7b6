"""A picture of spots in every format, and how far two readers of it may differ."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

LEVELS = 2
"""Largest difference of a level: the filters round once or twice, and a sharp one of 3 pixels may add one."""


def picture(
    columns: int,
    rows: int,
    seed: int,
    kind: str = "PNG",
    *,
    orientation: int = 1,
    mode: str = "RGB",
    grain: int = 5,
) -> bytes:
    """Spots of ``grain`` pixels, turned as EXIF says."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (rows // grain + 1, columns // grain + 1, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((columns, rows), Image.Resampling.BICUBIC)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(rng.integers(0, 256, (rows, columns), dtype=np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    image.convert(mode).save(stream, kind, exif=exif)
    return stream.getvalue()
